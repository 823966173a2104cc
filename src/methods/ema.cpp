// Exponential moving average of the checkpoints of one training run.
//
// Source:  Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992;
//          with a decay as in Tarvainen and Valpola, NeurIPS 2017, arXiv:1703.01780.
// Differs: it moves from checkpoint to checkpoint, not from step to step, and starts at the first of them.
// Cost:    one pass over the checkpoints.

#include <cmath>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::ema {
namespace {

struct Options {
  double decay = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("decay", decay, Range{0, 1}, "share of the average that a checkpoint leaves");
  }
};

// What each checkpoint counts in the end.
std::vector<double> weights_of(size_t checkpoints, double decay) {
  std::vector<double> weights(checkpoints, 1 - decay);
  weights[0] = 1;
  for (size_t i = 0; i < checkpoints; ++i) {
    weights[i] *= std::pow(decay, static_cast<double>(checkpoints - 1 - i));
  }
  return weights;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const std::vector<double> weights = weights_of(in.num_experts(), options.decay);
  return one_model(
      in.map_elements([&](const Slice& slice) { return weighted_sum_of(slice.expert_views(), weights); }));
}

const RegisterMethod<Options> registered{
    {.name = "ema",
     .title = "EMA",
     .paper = "Polyak and Juditsky, SIAM J. Control Optim. 1992",
     .formula =
         R"(m_1 = theta_1,   m_i = decay m_(i-1) + (1 - decay) theta_i,   experts: checkpoints in the order of the run
theta = m_N)",
     .family = Family::kAveraging,
     .order_invariant = false},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::ema
