// WUDI: the merged matrix that interferes least with the inputs of every task, where an expert's task vector stands
// for its inputs.
//
// Source:  Cheng et al., "Whoever Started the Interference Should End It: Guiding Data-Free Model Merging via Task
//          Vectors", ICML 2025, arXiv:2503.08099; tensors that are no matrices are averaged, as in FusionBench.
// Differs: float64, and the gradient is written out: with A_i = tau_i^T tau_i / |tau_i|^2 it is
//          2 (tau sum_i A_i - sum_i tau_i A_i), one product per step whatever the number of experts. An expert that
//          did not change a matrix takes no part in it (the original divides by zero).
// Cost:    `steps` products per matrix; a sweep of scales shares them.

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid::methods::wudi {
namespace {

struct Options {
  double scale = 1.0;
  int64_t steps = 400;
  double lr = 1e-5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam per matrix");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
  }
};

at::Tensor merged(const FusionInput& in, const Slice& slice, const Options& options) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const int64_t columns = slice.base().size(1);
  const auto of_base = slice.base().options().dtype(at::kDouble);
  at::Tensor tau = at::zeros(slice.base().sizes(), of_base);
  at::Tensor inputs = at::zeros({columns, columns}, of_base);  // sum_i A_i
  at::Tensor target = at::zeros_like(tau);                     // sum_i tau_i A_i
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    const at::Tensor own = slice.task_vector(i).to(at::kDouble);
    const auto norm = own.square().sum().item<double>();
    if (norm > 0) {
      const at::Tensor gram = at::matmul(own.t(), own) / norm;
      tau.add_(own);
      inputs.add_(gram);
      target.add_(at::matmul(own, gram));
    }
  }
  Adam adam(tau, options.lr);
  for (int64_t step = 0; step < options.steps; ++step) {
    adam.step((at::matmul(tau, inputs) - target) * 2);
    in.tick();
  }
  return tau.to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [&in, options](const Slice& slice) { return merged(in, slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "wudi",
     .title = "WUDI-Merging",
     .paper = "Cheng et al., ICML 2025, arXiv:2503.08099",
     .formula =
         R"(matrices  tau = sum_i tau_i, then `steps` steps of Adam on  sum_i |(tau - tau_i) tau_i^T|^2 / |tau_i|^2
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::wudi
