// DOGE-TA: move all task vectors of a layer by one common step that lowers their conflict, outside the subspace that
// they share, then sum them trimmed and with equal norms.
//
// Source:  Wei et al., "Modeling Multi-Task Model Merging as Adaptive Projective Gradient Descent", ICML 2025,
//          arXiv:2501.01230, in FusionBench's form: only weights of linear layers change, everything else stays the
//          base's; the loss sums products over the columns of each row.
// Differs: float64, gradient written out; singular triplets that are rounding are left out of the projection; an
//          expert that did not change a layer gets no weight there (the original divides by zero). Layers are told
//          by their shape and name (svd.h), not by "encoder" in it.
// Note:    where one expert alone changed a layer, all its left directions are shared equally, so that which of them
//          are the leading ones is arbitrary: the SVD library's rounding decides, here as in the original.
// Cost:    the SVDs that all subspace methods share, a pass and a sample for the thresholds (GPUs: two), `steps` steps
//          per layer.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/text.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid::methods::doge_ta {
namespace {

struct Options {
  double scale = 0.07;
  double density = 0.3;
  int64_t subspace = 6;
  int64_t steps = 400;
  double lr = 1e-4;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-10, 10}, "Frobenius norm that each task vector of a layer is scaled to");
    v.param("density", density, Range{0.001, 1}, "fraction of the entries of a task vector that are kept");
    v.param("subspace", subspace, Range{1, 1e6}, "r / subspace directions of each layer are shared");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam per layer");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
  }
};

// The leading shared left directions of a layer: [rows, at most r / subspace].
at::Tensor shared_directions(const FusionInput& in, const Slice& slice, const Options& options) {
  const int64_t all = std::min(slice.base().size(0), slice.base().size(1));
  const int64_t share = all / static_cast<int64_t>(in.num_experts());
  std::vector<at::Tensor> u;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    u.push_back(task_vector_svd(in, slice, i).first(share).u);
  }
  return significant_svd(concatenate(u, 1), all / options.subspace).u;
}

struct Layer {
  std::vector<at::Tensor> taus;  // float64
  std::vector<double> weights;   // scale / |tau_i|
};

Layer layer_of(const Slice& slice, double scale) {
  Layer layer;
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    layer.taus.push_back(slice.task_vector(i).to(at::kDouble));
    const auto norm = layer.taus.back().norm().item<double>();
    layer.weights.push_back(norm > 0 ? scale / norm : 0);
  }
  return layer;
}

// The common step: Adam on  sum_j sum_rows (sum_columns tau_j (tau_j - sum_i w_i (tau_i + delta)))^2.
at::Tensor common_step(const FusionInput& in, const Slice& slice, const Layer& layer,
                       const Options& options) {
  at::Tensor weighted = at::zeros_like(layer.taus[0]);
  double weight = 0;
  for (size_t i = 0; i < layer.taus.size(); ++i) {
    weighted.add_(layer.taus[i], layer.weights[i]);
    weight += layer.weights[i];
  }
  const at::Tensor shared = shared_directions(in, slice, options);
  at::Tensor delta = at::zeros_like(weighted);
  Adam adam(delta, options.lr);
  for (int64_t step = 0; step < options.steps; ++step) {
    const at::Tensor moved = weighted + delta * weight;
    at::Tensor gradient = at::zeros_like(delta);
    for (const at::Tensor& tau : layer.taus) {
      gradient.add_(tau * (tau * (tau - moved)).sum({1}, true), -2 * weight);
    }
    adam.step(gradient - at::matmul(shared, at::matmul(shared.t(), gradient)));
    in.tick();
  }
  return delta;
}

at::Tensor merged(const FusionInput& in, const Slice& slice, const std::vector<float>& thresholds,
                  const Options& options) {
  if (!is_linear_weight(*slice.info)) {
    return at::zeros_like(slice.base());
  }
  const Layer layer = layer_of(slice, options.scale);
  const at::Tensor delta = common_step(in, slice, layer, options);
  at::Tensor sum = at::zeros_like(delta);
  for (size_t i = 0; i < layer.taus.size(); ++i) {
    const at::Tensor kept = layer.taus[i].abs() >= static_cast<double>(thresholds[i]);
    sum.add_((layer.taus[i] + delta) * kept, layer.weights[i]);
  }
  return sum.to(at::kFloat);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  int64_t entries = 0;
  for (const TensorInfo& info : in.tensors()) {
    entries += is_linear_weight(info) ? info.numel() : 0;
  }
  const auto kept = static_cast<int64_t>(static_cast<double>(entries) * options.density);
  const std::vector<float> thresholds = kept == entries ? std::vector<float>(in.num_experts(), 0.0F)
                                                        : in.kth_magnitude(entries - kept, is_linear_weight);
  return one_model(in.map_matrices(
      [&](const Slice& slice) { return slice.base() + merged(in, slice, thresholds, options); }));
}

const RegisterMethod<Options> registered{
    {.name = "doge_ta",
     .title = "DOGE TA",
     .paper = "Wei et al., ICML 2025, arXiv:2501.01230",
     .formula = R"(per weight of a linear layer, w_i = scale / |tau_i|_F
delta   `steps` steps of Adam on  sum_j sum_rows ( sum_columns tau_j (tau_j - sum_i w_i (tau_i + delta)) )^2,
        gradients projected by I - P,   P: the r / subspace leading left directions of [U_1 .. U_N] (r / N of each)
m_i     the density largest |tau_i| of all these weights
theta = theta_0 + sum_i w_i m_i (tau_i + delta),   other tensors: theta_0)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::doge_ta
