#pragma once

#include <ATen/core/Tensor.h>

#include "fusion/alignment/unit_maps.h"

namespace fusegrid {

// Which units of a group a model has: those that some weight, scale or bias makes, none of whose entries is exactly
// zero in all of them. A model that is narrower than its architecture leaves the others zero, and is the same function
// as one without them. bool [group.size], on the weights' device.
at::Tensor live_units(const Weights& weights, const AxisGroup& group);

// n T, of the transport T that minimises sum T cost where each row has the mass 1 / n and each column 1 / m, exactly:
// the assignment between copies of rows and columns, lcm(n, m) of each, which has the same optimum since all masses are
// multiples of 1 / lcm(n, m). Time O(lcm(n, m)^3): between widths without a common divisor it takes long from a few
// thousand copies on.
//   cost     float [n, m], n and m > 0
//   Returns  float64 [n, m], on the cost's device; of as many rows as columns a permutation matrix
//   Throws   DataError: where a cost is no finite number
at::Tensor exact_transport(const at::Tensor& cost);

// n T, likewise, where the entropy of T counts `temperature` > 0 in units of the largest cost; as sinkhorn() ends:
// columns to rounding, rows to `tolerance`, after so many iterations at most.
at::Tensor entropic_transport(const at::Tensor& cost, double temperature, int64_t iterations,
                              double tolerance);

// How a model's units become another's by a transport between the units that each has: a new unit is made as the mean
// of those it gets mass from, and what reads a unit is divided among those that get mass of it. So a unit that stands
// for several, or several that stand for one, compute the same; of as many units both ways are n T.
//   transport  n T, float64 [n, m], between `to`'s and `from`'s units
//   to, from   bool [units]: live_units() of both models, n and m of them; the maps of others are zero
UnitMap map_of_transport(const at::Tensor& transport, const at::Tensor& to, const at::Tensor& from);

}  // namespace fusegrid
