// MuDSC: match units by what they are and by what they do, in weight space and in activation space at once.
//
//   S = alpha corr(weights) + (1 - alpha) corr(activations),   pi_i = argmax_pi sum_k S_k,pi(k)
//
// Source:  Xu et al., "Training-Free Pretrained Model Merging", CVPR 2024, arXiv:2403.01753, and the authors' code,
//          where the coefficient belongs to the weights and a search that goes in circles ends after five sweeps
//          without a gain.
// Differs: matching by assignments ("align"), not by zips. Of more than two models each is matched to the first. Units
//          of several entries (heads of attention) are matched as wholes, not their entries among each other. alpha is
//          0.5 where the authors choose it by data.
// Grain:   whole model: forward passes.
// Cost:    one forward pass of `examples` inputs per model, then as weight_matching.

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "core/text.h"
#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/matching.h"

namespace fusegrid::methods::mudsc {
namespace {

constexpr int64_t kPatience = 5;

struct Options {
  double alpha = 0.5;
  int64_t examples = 1000;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("alpha", alpha, Range{0, 1},
            "part of the weights in the similarity; the rest is that of activations");
    describe_matching_examples(v, examples);
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("mudsc", t, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  const auto activations = unit_activations(in, options.examples);
  int64_t sweeps = 0;
  const auto alignments = onto_the_first(in, [&](size_t i) {
    const UnitScores by_weights = weight_correlations(in.expert(0), in.expert(i), groups);
    const UnitScores by_both = [&](const AxisGroup& group, const Alignment& current) {
      const at::Tensor& all = activations.at(group.name).correlations;
      return by_weights(group, current) * options.alpha +
             block_of(all, in.num_experts(), 0, i) * (1 - options.alpha);
    };
    const Matching found = match(
        groups, by_both, unmoved(groups), [&] { in.tick(); }, kPatience);
    sweeps += found.sweeps;
    return found.alignment;
  });
  FusedModel model = merge_aligned(in, alignments, options.t);
  model.facts["sweeps"] = number_text(sweeps);
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "mudsc",
     .title = "MuDSC",
     .paper = "Xu et al., CVPR 2024, arXiv:2403.01753",
     .formula =
         R"(S     = alpha corr(w_1, w_i) + (1 - alpha) corr(a_1, a_i),   w: weights of a unit, a: its activations
pi_i  = argmax_pi sum_k S_k,pi(k),   group after group until nothing changes
theta = (1 - t) theta_1 + t pi_2(theta_2)   or   1/N sum_i pi_i(theta_i))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs},
     .demands = {Demand::kAxisGroups},
     .order_invariant = false,
     .cost = Cost::kForwardPasses,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::mudsc
