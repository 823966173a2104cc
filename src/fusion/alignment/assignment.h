#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The permutation p for which sum_i scores[i][p[i]] is largest, exactly: the linear assignment problem, by shortest
// augmenting paths in O(n^3), float64 on the CPU. Of permutations whose sums are equal up to 1e-10 of the largest score
// those are preferred that leave more indices in place (units that are dead in both of two models stay where they are),
// then those that give early rows low columns; so the answer is one, whatever the device.
//   scores   float [n, n], any device and dtype
//   Returns  n entries
//   Throws   DataError: where a score is no finite number
// Source: Jonker and Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems",
// Computing 38, 1987.
std::vector<int64_t> best_assignment(const at::Tensor& scores);

}  // namespace fusegrid
