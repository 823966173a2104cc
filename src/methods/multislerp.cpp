// Multi-SLERP: the weighted mean of several task vectors on the sphere, in one step through the tangent
// space at their normalised mean.
//
// Source:  mergekit's method of that name.
// Differs: a tensor whose weighted unit vectors cancel (one that no expert changed, or a and -a) gets the
//          weighted mean of the task vectors; mergekit does so for two models and raises an error for more.
//          Arithmetic in float64.
// Cost:    one pass over N experts, whole tensors.

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/zeros_like.h>

#include "core/model_weights.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::multislerp {
namespace {

struct Options {
  std::vector<double> weights;
  bool normalize = true;
  std::string around = "base";
  double eps = 1e-8;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("weights", weights, Range{-100, 100}, "weight of each expert, in their order; empty: all equal");
    v.param("normalize", normalize, "divide the weights by their sum");
    v.param("around", around, Choices{"base", "zero"}, "centre of the sphere: task vectors, or the weights");
    v.param("eps", eps, Range{0, 1}, "added to lengths and angles that are divided by");
  }
  void check(int64_t experts) const { model_weights("multislerp", weights, normalize, experts); }
};

double length(const at::Tensor& vector) {
  return vector.norm().item<double>();
}

at::Tensor weighted_sum(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights) {
  at::Tensor sum = at::zeros_like(vectors[0]);
  for (size_t i = 0; i < weights.size(); ++i) {
    sum.add_(vectors[i], weights[i]);
  }
  return sum;
}

// float64 vectors of one tensor
at::Tensor spherical_mean(const std::vector<at::Tensor>& vectors, const std::vector<double>& weights,
                          double eps) {
  std::vector<at::Tensor> units;
  double radius = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double norm = length(vectors[i]);
    units.push_back(vectors[i] / (norm + eps));
    radius += norm * weights[i];
  }
  at::Tensor mean = weighted_sum(units, weights);
  const double mean_length = length(mean);
  if (mean_length < eps) {
    return weighted_sum(vectors, weights);
  }
  mean.div_(mean_length);
  for (at::Tensor& unit : units) {
    unit.sub_(mean, (unit * mean).sum().item<double>());  // its part in the tangent space
  }
  const at::Tensor tangent = weighted_sum(units, weights);
  const double angle = length(tangent) + eps;
  return (mean * std::cos(angle)).add_(tangent, std::sin(angle) / angle).mul_(radius);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto weights =
      model_weights("multislerp", options.weights, options.normalize, static_cast<int64_t>(in.num_experts()));
  return one_model(in.map_tensors([&](const Slice& slice) {
    const bool around_base = options.around == "base";
    std::vector<at::Tensor> vectors;
    for (size_t i = 0; i < weights.size(); ++i) {
      vectors.push_back((around_base ? slice.task_vector(i) : slice.expert(i)).to(at::kDouble));
    }
    if (vectors.size() == 1) {
      return slice.expert(0).clone();  // nothing to interpolate
    }
    const at::Tensor mean = spherical_mean(vectors, weights, options.eps);
    return around_base ? at::add(mean, slice.base()) : mean;
  }));
}

const RegisterMethod<Options> registered{
    {.name = "multislerp",
     .title = "Multi-SLERP",
     .paper = "mergekit (Goddard et al., EMNLP 2024, arXiv:2403.13257)",
     .formula = R"(u_i = tau_i / |tau_i|,   m = sum_i w_i u_i / |sum_i w_i u_i|   per tensor
v = sum_i w_i (u_i - <u_i, m> m),   r = sum_i w_i |tau_i|
theta = theta_0 + r (cos |v| m + sin |v| v / |v|))",
     .family = Family::kAveraging,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::multislerp
