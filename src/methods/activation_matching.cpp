// Activation matching of Git Re-Basin: permute the units of all models so that they do what the first model's units do
// on the same inputs, then average.
//
//   pi_i = argmax_pi sum_k corr(a_1k, a_i pi(k)),   theta = 1/N sum_i pi_i(theta_i)
//
// Source:  Ainsworth, Hayase and Srinivasa, "Git Re-Basin", ICLR 2023, arXiv:2209.04836, section 3.1; Li et al.,
//          "Convergent Learning", 2016, arXiv:1511.07543.
// Differs: Pearson's correlation of activations, as in the follow-up work (REPAIR, ZipIt), not their product; the mean
//          over the nodes of a residual stream. Of more than two models each is matched to the first. Units that do not
//          vary on the inputs correlate with none and stay where they are if they can.
// Grain:   whole model: forward passes.
// Cost:    one forward pass of `examples` inputs per model, the products of activations, one assignment per group.

#include <ATen/core/grad_mode.h>

#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/assignment.h"

namespace fusegrid::methods::activation_matching {
namespace {

struct Options {
  int64_t examples = 1000;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    describe_matching_examples(v, examples);
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("activation_matching", t, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const auto activations = unit_activations(in, options.examples);
  const auto alignments = onto_the_first(in, [&](size_t i) {
    Alignment alignment;
    for (const auto& [group, of_group] : activations) {
      alignment[group] = best_assignment(block_of(of_group.correlations, in.num_experts(), 0, i));
      in.tick();
    }
    return alignment;
  });
  return merge_aligned(in, alignments, options.t);
}

const RegisterMethod<Options> registered{
    {.name = "activation_matching",
     .title = "Git Re-Basin, activation matching",
     .paper = "Ainsworth et al., ICLR 2023, arXiv:2209.04836",
     .formula = R"(pi_i  = argmax_pi sum_k corr(a_1k, a_i,pi(k)),   a_ik: activations of unit k of model i
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
}  // namespace fusegrid::methods::activation_matching
