// DOP: merge one expert after the other; each weight is optimised to stay near both the model merged so far and the
// new expert within the subspaces that their task vectors span.
//
// Source:  "Continual Model Merging without Data: Dual Projections for Balancing Stability and Plasticity", NeurIPS
//          2025, in FusionBench's form (space=uv, MGDA with smoothed weights).
// Differs: float64, gradients written out; `energy` leaves out singular triplets that are rounding (svd.h). Tensors
//          that are no linear weights are averaged pairwise, all of them (FusionBench resets parameters of modules
//          with children, the class embedding, to the base). FusionBench shuffles the experts by default.
// Cost:    `steps` steps of four products per weight and expert.

#include <algorithm>
#include <array>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/passes/expert_order.h"
#include "fusion/subspaces/svd.h"
#include "fusion/whole_model/adam.h"

namespace fusegrid::methods::dop {
namespace {

struct Options {
  int64_t steps = 200;
  double lr = 1e-4;
  double alpha = 0.8;
  double beta = 0.999;
  double energy = 0.99999;
  std::vector<double> order;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam per weight and expert");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("alpha", alpha, Range{0, 1}, "initial weight of the model merged so far");
    v.param("beta", beta, Range{0, 1}, "smoothing of the weights that balance both losses; 1: alpha stays");
    v.param("energy", energy, Range{0, 1}, "share of the singular values below which directions are kept");
    v.param("order", order, Range{0, 1e6},
            "positions of the experts in the order of merging; empty: as given");
  }
  void check(int64_t experts) const { expert_order("dop", order, experts); }
};

// One side of the balance: |S U^T (W - target)|^2 + |(W - target) V S|^2.
struct Side {
  at::Tensor target;  // task vector, float64
  at::Tensor left;    // U S^2 U^T
  at::Tensor right;   // V S^2 V^T
};

Side side_of(const at::Tensor& tau, double energy) {
  const Svd all = significant_svd(tau);
  const at::Tensor share = all.s.cumsum(0) / all.s.sum();
  const Svd kept = all.first((share < energy).sum().item<int64_t>());
  return {tau, at::matmul(kept.u * kept.s.square(), kept.u.t()),
          at::matmul(kept.v * kept.s.square(), kept.v.t())};
}

struct Slope {
  double loss = 0;
  at::Tensor gradient;
};

Slope slope_of(const Side& side, const at::Tensor& weight) {
  const at::Tensor apart = weight - side.target;
  const at::Tensor half = at::matmul(side.left, apart) + at::matmul(apart, side.right);
  return {(half * apart).sum().item<double>(), half * 2};
}

double inner(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum().item<double>();
}

// Share of the first gradient in the shortest vector between both, each divided by its loss; within [0.001, 0.999]
// as the authors of MGDA clip it.
double balance(const std::array<Slope, 2>& slopes) {
  if (slopes[0].loss <= 0 || slopes[1].loss <= 0) {
    return 0.5;  // one side is reached exactly: no direction to share
  }
  const at::Tensor first = slopes[0].gradient / slopes[0].loss;
  const at::Tensor second = slopes[1].gradient / slopes[1].loss;
  const double of_first = inner(first, first);
  const double of_second = inner(second, second);
  const double of_both = inner(first, second);
  if (of_both >= of_first) {
    return 0.999;
  }
  if (of_both >= of_second) {
    return 0.001;
  }
  return (of_second - of_both) / (of_first + of_second - 2 * of_both);
}

at::Tensor between(const FusionInput& in, const at::Tensor& merged, const at::Tensor& tau,
                   const Options& options) {
  const std::array<Side, 2> sides{side_of(merged, options.energy), side_of(tau, options.energy)};
  at::Tensor weight = (merged + tau) / 2;
  Adam adam(weight, options.lr);
  double first = options.alpha;
  double second = 1 - options.alpha;
  for (int64_t step = 0; step < options.steps; ++step) {
    const std::array<Slope, 2> slopes{slope_of(sides[0], weight), slope_of(sides[1], weight)};
    if (options.beta < 1) {
      const double share = balance(slopes);
      first = options.beta * first + (1 - options.beta) * share;
      second = options.beta * second + (1 - options.beta) * (1 - share);
    }
    adam.step(slopes[0].gradient * first + slopes[1].gradient * second);
    in.tick();
  }
  return weight;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto order = expert_order("dop", options.order, static_cast<int64_t>(in.num_experts()));
  return one_model(in.map_matrices([&](const Slice& slice) {
    at::Tensor merged = slice.task_vector(order[0]).to(at::kDouble);
    for (size_t step = 1; step < order.size(); ++step) {
      const at::Tensor tau = slice.task_vector(order[step]).to(at::kDouble);
      merged = is_linear_weight(*slice.info) ? between(in, merged, tau, options) : (merged + tau) / 2;
    }
    return slice.base() + merged.to(at::kFloat);
  }));
}

const RegisterMethod<Options> registered{
    {.name = "dop",
     .title = "DOP",
     .paper = "\"Continual Model Merging without Data: Dual Projections\", NeurIPS 2025",
     .formula =
         R"(m_1 = tau_1;   for t = 2 .. N, per weight of a linear layer, from m = (m_(t-1) + tau_t) / 2:
  `steps` steps of Adam on  a L(m, m_(t-1)) + (1 - a) L(m, tau_t)
  L(m, x) = |S U^T (m - x)|^2 + |(m - x) V S|^2,   x = U S V^T cut where the singular values reach `energy`
  a: smoothed share of the shortest convex combination of both gradients (MGDA), from alpha
other tensors  m_t = (m_(t-1) + tau_t) / 2
theta = theta_0 + m_N)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .order_invariant = false,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::dop
