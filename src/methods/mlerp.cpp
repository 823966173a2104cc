// MLERP: the average of the experts, scaled back to the norm that the experts have. For two models of equal norm
// this is SLERP at t = 1/2 (method `slerp` has SLERP itself).
//
// Source:  Tam et al., "Realistic Evaluation of Model Merging for Compositional Generalization", TMLR 2025,
//          arXiv:2409.18314.
// Differs: the paper's code leaves the choice of rho to a plug-in; the default here is the mean.
// Cost:    two passes over N experts.

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::mlerp {
namespace {

struct Options {
  std::string norm = "mean";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("norm", norm, Choices{"mean", "max"}, "which norm of the experts the average is scaled to");
  }
};

double squared_norm(const at::Tensor& values) {
  return values.to(at::kDouble).square().sum().item<double>();
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const size_t experts = in.num_experts();
  std::vector<double> norms = in.reduce(experts + 1, [&](const Slice& slice, double* out) {
    for (size_t i = 0; i < experts; ++i) {
      out[i] = squared_norm(slice.expert(i));
    }
    out[experts] = squared_norm(mean_of(slice.expert_views()));
  });
  std::transform(norms.begin(), norms.end(), norms.begin(),
                 [](double squared) { return std::sqrt(squared); });
  const double average_norm = norms.back();
  norms.pop_back();
  const double target = options.norm == "max"
                            ? *std::max_element(norms.begin(), norms.end())
                            : std::accumulate(norms.begin(), norms.end(), 0.0) / static_cast<double>(experts);
  const double factor =
      average_norm > 0 ? target / average_norm : 1;  // opposite models average to zero: stay there
  return one_model(
      in.map_elements([=](const Slice& slice) { return mean_of(slice.expert_views()).mul_(factor); }));
}

const RegisterMethod<Options> registered{
    {.name = "mlerp",
     .title = "MLERP",
     .paper = "Tam et al., TMLR 2025, arXiv:2409.18314",
     .formula = R"(theta = m rho / |m|,   m = 1/N sum_i theta_i,   norms over the whole model
norm=mean  rho = mean_i |theta_i|
norm=max   rho = max_i |theta_i|)",
     .family = Family::kAveraging},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::mlerp
