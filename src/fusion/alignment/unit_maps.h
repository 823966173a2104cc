#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusion/alignment/permutation.h"
#include "models/readout.h"

namespace fusegrid {

// How a merged model's units of an axis group come from those of one model, and how that model's units are got back
// from them: what the model computes from x becomes makes x, and what reads x reads reads x' of the merged units x'.
struct UnitMap {
  at::Tensor makes;  // [new units, units]
  at::Tensor reads;  // [units, new units]
};
// By axis group; groups that are missing stay as they are. All of one floating dtype, on the weights' device.
using UnitMaps = std::map<std::string, UnitMap>;

UnitMap unit_map_of(const Permutation& permutation, at::Device device);
UnitMaps unit_maps_of(const Alignment& alignment, at::Device device);

// The tensor with its axes mapped, in the maps' dtype: an axis that makes a group by `makes` from the left, one that
// reads it by `reads` from the right. Gradients flow through.
at::Tensor mapped(const at::Tensor& tensor, const std::vector<AxisOfGroup>& axes, const UnitMaps& maps);

// All of a model, rounded to the dtypes that it has.
Weights mapped(const Weights& weights, const std::vector<AxisGroup>& groups, const UnitMaps& maps);

// One model of several whose units were mapped: sum_i makes_i theta_i reads_i of what makes a mapped group, and the
// mean of all else, in float64 and then rounded; what is no floating-point tensor is the first model's. maps: of each
// model, float64.
Weights merged_by_maps(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                       const std::vector<UnitMaps>& maps);

// Units that stay apart: those of all models one after the other, of which each model makes and reads its own.
std::vector<UnitMap> units_apart(int64_t units, size_t models, at::Device device);

// Whether groups of an architecture may get other widths than it was made for: no units of several entries (heads of
// attention), and no norm over the units (scales along a group are those of batch norms).
bool has_free_widths(const Architecture& architecture);

// Entries of the merged model that are no zeros by construction: what must be stored.
double stored_entries(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                      const std::vector<UnitMaps>& maps);

// The readout of what features have become: a group that they lie along is read by its map. Null where none is mapped,
// or where the readout has no weights of its own, because it reads tensors of the model.
std::shared_ptr<const Readout> mapped_readout(const Readout& readout, const std::vector<AxisGroup>& groups,
                                              const UnitMaps& maps);

}  // namespace fusegrid
