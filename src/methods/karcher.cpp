// Karcher mean: the point of the sphere that minimises the sum of squared angles to all models, times the
// mean of their norms; tensor by tensor.
//
// Source:  Karcher, Comm. Pure Appl. Math. 1977; as a merging method in mergekit (arXiv:2603.04972).
//          Tensors with a norm of at most tol have no direction: they count in the mean of the norms only.
// Differs: nothing (arithmetic in float64).
// Cost:    one pass over N experts, whole tensors, max_iter times.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::karcher {
namespace {

struct Options {
  int64_t max_iter = 10;
  double tol = 1e-5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("max_iter", max_iter, Range{1, 1000}, "steps at most");
    v.param("tol", tol, Range{1e-12, 0.1}, "angle (of a step) below which the iteration ends");
  }
};

double length(const at::Tensor& vector) {
  return vector.norm().item<double>();
}

// Mean of the logarithms of `units` at `mean`: a tangent vector.
at::Tensor mean_logarithm(const std::vector<at::Tensor>& units, const at::Tensor& mean, double tol) {
  at::Tensor tangent = at::zeros_like(mean);
  for (const at::Tensor& unit : units) {
    const double cosine = std::clamp(at::dot(mean, unit).item<double>(), -1.0, 1.0);
    const double angle = std::acos(cosine);
    if (angle >= tol) {
      tangent.add_(unit - mean * cosine, angle / std::sin(angle));
    }
  }
  return tangent.div_(static_cast<double>(units.size()));
}

at::Tensor direction_of(const std::vector<at::Tensor>& units, const Options& options) {
  const at::Tensor sum = mean_of(units);
  at::Tensor mean = length(sum) < options.tol ? units[0] : sum / length(sum);
  for (int64_t step = 0; step < options.max_iter; ++step) {
    const at::Tensor tangent = mean_logarithm(units, mean, options.tol);
    const double angle = length(tangent);
    if (angle < options.tol) {
      break;
    }
    mean = mean * std::cos(angle) + tangent * (std::sin(angle) / angle);
    mean.div_(std::max(length(mean), options.tol));
  }
  return mean;
}

at::Tensor karcher_mean(const std::vector<at::Tensor>& tensors, const Options& options) {
  std::vector<at::Tensor> units;
  double radius = 0;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor flat = tensor.reshape({-1}).to(at::kDouble);
    const double norm = length(flat);
    radius += norm / static_cast<double>(tensors.size());
    if (norm > options.tol) {
      units.push_back(flat / norm);
    }
  }
  if (units.empty()) {
    return at::zeros_like(tensors[0]);
  }
  return (direction_of(units, options) * radius).view(tensors[0].sizes());
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  return one_model(in.map_tensors([&](const Slice& slice) {
    return slice.num_experts() == 1 ? slice.expert(0).clone() : karcher_mean(slice.experts(), options);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "karcher",
     .title = "Karcher Mean",
     .paper = "Karcher, CPAM 1977; arXiv:2603.04972",
     .formula = R"(u_i = theta_i / |theta_i|   per tensor
m = argmin over |m| = 1 of sum_i angle(m, u_i)^2
theta = m 1/N sum_i |theta_i|)",
     .family = Family::kAveraging,
     .grain = Grain::kTensors},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::karcher
