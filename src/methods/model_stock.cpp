// Model Stock: walk from the base towards the average of the experts as far as the angle between their task
// vectors says that the centre of their distribution lies.
//
// Source:  Jang et al., "Model Stock: All we need is just a few fine-tuned models", ECCV 2024,
//          arXiv:2403.19522. The paper has one angle; of several pairs mergekit averages the cosines
//          (products of norms at least 1e-6, no step where the ratio has a pole), FusionBench the angles
//          (1e-8 added to them).
// Differs: nothing.
// Cost:    one pass over N experts and N (N - 1) / 2 pairs, whole tensors.

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/zeros.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::model_stock {
namespace {

struct Options {
  std::string average = "cosines";
  std::string unit = "tensor";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("average", average, Choices{"cosines", "angles"}, "what is averaged over the pairs of experts");
    v.param("unit", unit, Choices{"tensor", "filters"},
            "what has an angle of its own: filters are the vectors along the last dimension");
  }
};

// Cosine of the average angle per row, [rows, 1]; taus are float64 [rows, n].
at::Tensor average_cosine(const std::vector<at::Tensor>& taus, bool average_angles) {
  std::vector<at::Tensor> norms_of;
  for (const at::Tensor& tau : taus) {
    norms_of.push_back(tau.norm(2, {1}, true));
  }
  // one for all pairs: fresh memory costs more than the product
  at::Tensor products = at::empty_like(taus[0]);
  at::Tensor sum = at::zeros({taus[0].size(0), 1}, taus[0].options());
  double pairs = 0;
  for (size_t i = 0; i < taus.size(); ++i) {
    for (size_t j = i + 1; j < taus.size(); ++j) {
      const at::Tensor norms = norms_of[i] * norms_of[j];
      const at::Tensor product = at::mul_out(products, taus[i], taus[j]).sum({1}, true);
      const at::Tensor cosine =
          (product / (average_angles ? norms + 1e-8 : norms.clamp_min(1e-6))).clamp(-1, 1);
      sum.add_(average_angles ? cosine.acos() : cosine);
      pairs += 1;
    }
  }
  return average_angles ? (sum / pairs).cos() : sum / pairs;
}

// How far to go towards the average, per row.
at::Tensor ratio(const std::vector<at::Tensor>& taus, bool average_angles) {
  const auto count = static_cast<double>(taus.size());
  const at::Tensor cosine = average_cosine(taus, average_angles);
  const at::Tensor divisor = (count - 1) * cosine + 1;
  if (average_angles) {
    return count * cosine / (divisor + 1e-8);
  }
  const at::Tensor pole = divisor.abs() < 1e-6;
  return (count * cosine / divisor.masked_fill(pole, 1.0)).masked_fill(pole, 0.0);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_tensors([&](const Slice& slice) {
    const bool by_filter = options.unit == "filters" && slice.base().dim() > 1;
    const int64_t rows = by_filter ? slice.count / slice.base().size(-1) : 1;
    std::vector<at::Tensor> taus;
    for (const at::Tensor& tau : slice.task_vectors()) {
      taus.push_back(tau.to(at::kDouble).reshape({rows, slice.count / rows}));
    }
    const at::Tensor step = mean_of(taus) * ratio(taus, options.average == "angles");
    return at::add(step.view(slice.base().sizes()), slice.base());
  }));
}

const RegisterMethod<Options> registered{
    {.name = "model_stock",
     .title = "Model Stock",
     .paper = "Jang et al., ECCV 2024, arXiv:2403.19522",
     .formula = R"(c = average over pairs of cos(tau_i, tau_j)   per tensor or filter
t = N c / (1 + (N - 1) c)
theta = t 1/N sum_i theta_i + (1 - t) theta_0)",
     .family = Family::kAveraging,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::model_stock
