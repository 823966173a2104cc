#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// sum_i m_i tau_i / max(1, sum_i m_i) of a slice: the mean of the task vectors whose masks (float, 1 or 0) have an
// entry, 0 where none has it. Source: He et al., "Localize-and-Stitch: Efficient Model Merging via Sparse Task
// Arithmetic", TMLR 2025, arXiv:2408.13656.
at::Tensor stitched(const std::vector<at::Tensor>& taus, const std::vector<at::Tensor>& masks);

}  // namespace fusegrid
