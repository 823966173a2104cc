// The straight-through estimator of Git Re-Basin: train a stand-in for the first model so that the permutation which
// matches the second to it has a low loss in the middle between the first and the permuted second.
//
//   pi(s) = argmax_pi <s, pi(theta_2)>,   s <- s - lr dL/dtheta at (theta_1 + pi(s)(theta_2)) / 2
//
// Source:  Ainsworth, Hayase and Srinivasa, "Git Re-Basin", ICLR 2023, arXiv:2209.04836, section 3.3 and algorithm 3 of
//          its appendix.
// Differs: all examples in every step, so that steps compare and the best permutation is known, where the authors draw
//          batches. Of more than two models each is matched to the first.
// Grain:   whole model: forward and backward passes.
// Cost:    per step and model one pass of `examples` forward and backward, and a weight matching from the permutation
//          before.

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/matching.h"
#include "fusion/alignment/training_loss.h"

namespace fusegrid::methods::straight_through {
namespace {

constexpr double kMomentum = 0.9;

struct Options {
  int64_t steps = 100;
  double lr = 0.01;
  int64_t examples = 512;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("steps", steps, Range{1, 1e6}, "steps of gradient descent with momentum 0.9");
    v.param("lr", lr, Range{0, 10}, "learning rate");
    v.param("examples", examples, Range{1, 1e6}, "labelled training examples of two models together");
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("straight_through", t, experts); }
};

class Estimator {
 public:
  Estimator(const FusionInput& in, const Options& options, size_t expert)
      : in_(in), options_(options), expert_(expert), loss_(in, 0, expert, options.examples) {
    for (const TensorInfo& info : in.tensors()) {
      stand_in_.at(info.name) = stand_in_.at(info.name).clone();
      velocity_[info.name] = at::zeros_like(stand_in_.at(info.name));
    }
  }

  Alignment trained() {
    Alignment best;
    double lowest = std::numeric_limits<double>::infinity();
    for (int64_t step = 0; step < options_.steps; ++step) {
      current_ = match(groups_, weight_products(stand_in_, in_.expert(expert_), groups_), current_, [&] {
                   in_.tick();
                 }).alignment;
      const double loss = descended();
      if (loss < lowest) {
        lowest = loss;
        best = current_;
      }
    }
    FUSEGRID_ASSERT(!best.empty(), "no step of the estimator has a finite loss");
    return best;
  }

 private:
  // One step; returns the loss in the middle.
  double descended() {
    Weights middle =
        weighted_mean({in_.expert(0), permuted(in_.expert(expert_), groups_, current_)}, {0.5, 0.5});
    for (const auto& [name, velocity] : velocity_) {
      middle.at(name).requires_grad_(true);
    }
    std::vector<UnitMaps> maps(in_.num_experts());
    maps[expert_] = unit_maps_of(current_, in_.device());
    const auto readouts = mapped_readouts(in_, maps);
    const double loss = loss_.add_gradients([&] { return TrainingLoss::Model{middle, readouts}; });
    for (auto& [name, velocity] : velocity_) {
      const at::Tensor& gradient = middle.at(name).grad();
      if (gradient.defined()) {
        velocity.mul_(kMomentum).add_(gradient, 0.5);  // the stand-in is half of the middle
        stand_in_.at(name).sub_(velocity, options_.lr);
      }
    }
    return loss;
  }

  const FusionInput& in_;
  const Options& options_;
  size_t expert_;
  TrainingLoss loss_;
  std::vector<AxisGroup> groups_ = in_.network().architecture->axis_groups();
  Alignment current_ = unmoved(groups_);
  Weights stand_in_ = in_.expert(0);
  Weights velocity_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const auto alignments = onto_the_first(in, [&](size_t i) { return Estimator(in, options, i).trained(); });
  return merge_aligned(in, alignments, options.t);
}

const RegisterMethod<Options> registered{
    {.name = "straight_through",
     .title = "Git Re-Basin, straight-through",
     .paper = "Ainsworth et al., ICLR 2023, arXiv:2209.04836",
     .formula =
         R"(pi_i(s) = argmax_pi <s, pi(theta_i)>,   m = (theta_1 + pi_i(s)(theta_i)) / 2,   s starts at theta_1
s <- s - lr dL(m)/dm / 2,   the permutation of the step with the lowest loss L(m) on labelled training examples
theta = (1 - t) theta_1 + t pi_2(theta_2)   or   1/N sum_i pi_i(theta_i))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .demands = {Demand::kAxisGroups},
     .order_invariant = false,
     .cost = Cost::kTraining,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::straight_through
