// Arcee Fusion: take over the expert's entries that matter most, tensor by tensor: importance is the change
// times how far the row's softmax moved; outliers (above the median by 1.5 interquartile ranges) are taken.
//
// Source:  Arcee AI's method, as in mergekit.
// Differs: quartiles are exact; mergekit draws a million entries (unseeded) where a tensor has more.
//          Importance in float64.
// Cost:    one pass over one expert, whole tensors, three selections, no sorting.

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>

#include "fusion/fusion_input.h"
#include "fusion/passes/selection.h"

namespace fusegrid::methods::arcee_fusion {
namespace {

double quantile(const at::Tensor& values, double fraction) {
  return kth_value(values, static_cast<int64_t>(fraction * static_cast<double>(values.numel() - 1)) + 1);
}

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  return one_model(in.map_tensors([](const Slice& slice) {
    const at::Tensor tau = slice.task_vector(0);
    const int64_t row = slice.base().dim() == 0 ? 1 : slice.base().size(-1);
    const at::Tensor scores = softmax_importance(slice.expert(0).to(at::kDouble).reshape({-1, row}),
                                                 slice.base().to(at::kDouble).reshape({-1, row}));
    const double threshold = quantile(scores, 0.5) + 1.5 * (quantile(scores, 0.75) - quantile(scores, 0.25));
    return at::add(slice.base(), tau * (scores >= threshold).view(tau.sizes()));
  }));
}

const RegisterMethod<NoOptions> registered{
    {.name = "arcee_fusion",
     .title = "Arcee Fusion",
     .paper = "Arcee AI; mergekit (Goddard et al., EMNLP 2024, arXiv:2403.13257)",
     .formula = R"(s = |tau| KL(softmax(theta_1) || softmax(theta_0))   per row
theta = theta_0 + tau [s >= median s + 1.5 (q75 s - q25 s)]   quartiles per tensor)",
     .family = Family::kTaskVector,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .max_experts = 1},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::arcee_fusion
