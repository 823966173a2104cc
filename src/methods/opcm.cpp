// OPCM: merge one expert after the other; of each, only what lies outside the main directions of the model merged so
// far is added, and the result keeps the average length of the task vectors.
//
// Source:  Tang et al., "Merging Models on the Fly Without Retraining: A Sequential Approach to Scalable Continual
//          Model Merging", NeurIPS 2025, arXiv:2501.09522.
// Differs: the length is set once, at the end: with u_t = lambda_t tau^(t) the recursion is u_t = u_(t-1) + the
//          projected tau_t, and the projection does not see the length. So only the last length needs the whole
//          model. `order` shuffles by the seed (FusionBench: by Python's unseeded generator). All tensors that are
//          no linear weights are added as they are (FusionBench leaves out parameters of modules with children,
//          the class embedding).
// Cost:    N - 1 SVDs per matrix in sequence; two passes over whole tensors, which share them.

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "core/text.h"
#include "fusion/passes/direction.h"
#include "fusion/passes/expert_order.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::opcm {
namespace {

struct Options {
  double alpha = 0.5;
  std::vector<double> order;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("alpha", alpha, Range{0, 1}, "share of the singular values that the main directions hold");
    v.param("order", order, Range{0, 1e6},
            "positions of the experts in the order of merging; empty: as given");
  }
  void check(int64_t experts) const { expert_order("opcm", order, experts); }
};

// The task vector without its part along the main directions of `merged` and along its singular pairs.
at::Tensor outside(const at::Tensor& merged, const at::Tensor& tau, double alpha) {
  const Svd svd = significant_svd(merged);
  if (svd.rank() == 0) {
    return tau;
  }
  const at::Tensor share = svd.s.cumsum(0) / svd.s.sum();
  const int64_t main = (share <= alpha).sum().item<int64_t>();  // first index with a larger share
  const at::Tensor seen = at::matmul(at::matmul(svd.u.t(), tau), svd.v);
  at::Tensor removed = seen.diagonal().diag();
  removed.narrow(0, 0, main).narrow(1, 0, main).copy_(seen.narrow(0, 0, main).narrow(1, 0, main));
  return tau - at::matmul(at::matmul(svd.u, removed), svd.v.t());
}

at::Tensor accumulated(const Slice& slice, const std::vector<size_t>& order, double alpha) {
  at::Tensor sum = slice.task_vector(order[0]).to(at::kDouble);
  for (size_t step = 1; step < order.size(); ++step) {
    const at::Tensor tau = slice.task_vector(order[step]).to(at::kDouble);
    sum = sum + (is_linear_weight(*slice.info) ? outside(sum, tau, alpha) : tau);
  }
  return sum.to(at::kFloat);
}

double average_length(const FusionInput& in) {
  const std::vector<double> squares = in.reduce(in.num_experts(), [](const Slice& slice, double* out) {
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      out[i] = slice.task_vector(i).to(at::kDouble).square().sum().item<double>();
    }
  });
  double sum = 0;
  for (const double square : squares) {
    sum += std::sqrt(square);
  }
  return sum / static_cast<double>(squares.size());
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto order = expert_order("opcm", options.order, static_cast<int64_t>(in.num_experts()));
  std::vector<std::string> names;
  for (const size_t expert : order) {
    names.push_back(in.expert_names()[expert]);
  }
  const Field sum =
      in.matrix_field("opcm{alpha=" + number_text(options.alpha) + ",order=" + join(names, "+") + "}",
                      [&](const Slice& slice) { return accumulated(slice, order, options.alpha); });
  double square = 0;
  for (const auto& of_tensor : in.reduce_tensors(1, [&](const Slice&slice, double*out) {
         out[0] = slice[sum].to(at::kDouble).square().sum().item<double>();
       })) {
    square += of_tensor[0];
  }
  const double scale = square > 0 ? average_length(in) / std::sqrt(square) : 0;
  FusedModel fused = move_along(in, sum, scale);
  fused.facts["order"] = join(names, " ");
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "opcm",
     .title = "OPCM",
     .paper = "Tang et al., NeurIPS 2025, arXiv:2501.09522",
     .formula = R"(u_1 = tau_1;   for t = 2 .. N, per weight of a linear layer with u_(t-1) = U S V^T:
  P   = U^T tau_t V,   P_jj = 0,   P_jk = 0 for j, k <= m   (m: the largest with (S_1 + .. + S_m) / sum S <= alpha)
  u_t = u_(t-1) + U P V^T;   other tensors  u_t = u_(t-1) + tau_t
theta = theta_0 + u_N * mean_i |tau_i| / |u_N|,   norms over the whole model)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .order_invariant = false,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::opcm
