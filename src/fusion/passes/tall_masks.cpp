#include "fusion/passes/tall_masks.h"

#include <ATen/TensorOperators.h>

namespace fusegrid {
namespace {

constexpr double kTiesDensity = 0.2;  // of the authors' code

}  // namespace

TallMasks::TallMasks(const FusionInput& in, TallMaskRule rule) : rule_(std::move(rule)) {
  if (rule_.vector == "ties") {
    const std::vector<double> densities(in.num_experts(), kTiesDensity);
    election_ = trim_and_elect(in, "task_vectors", densities, &Slice::task_vector_views);
  }
}

at::Tensor TallMasks::multitask_vector(const Slice& slice) const {
  const auto taus = slice.task_vector_views();
  return rule_.vector == "ties" ? merge_elected(taus, election_, "sum") : sum_of(taus);
}

std::vector<at::Tensor> TallMasks::masks(const Slice& slice, const at::Tensor& multitask) const {
  std::vector<at::Tensor> masks;
  for (const at::Tensor& tau : slice.task_vectors()) {
    const at::Tensor own = rule_.compare == "fusion_bench" ? slice.base() - tau : tau;
    masks.push_back(own.abs() > (multitask - tau).abs() * rule_.lambda);
  }
  return masks;
}

}  // namespace fusegrid
