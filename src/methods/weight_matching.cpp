// Weight matching of Git Re-Basin: permute the units of all models so that their weights lie close to the first
// model's, then average. A network computes the same whichever order the units of a layer have.
//
//   pi_i = argmax_pi <theta_1, pi(theta_i)>,   theta = 1/N sum_i pi_i(theta_i)
//
// Source:  Ainsworth, Hayase and Srinivasa, "Git Re-Basin: Merging Models modulo Permutation Symmetries", ICLR 2023,
//          arXiv:2209.04836, algorithm 1.
// Differs: of more than two models each is matched to the first, not one after the other to the mean of the rest. A
//          group changes only where its sum of products becomes larger by 1e-9 of it. Heads that stand outside the
//          models are not matched; that of an expert's task follows its features.
// Grain:   whole model: a group's assignment depends on the permutations of its neighbours.
// Cost:    3 to 20 sweeps, each the product of all matrices of two models and an assignment (n^3) per group.

#include <ATen/core/grad_mode.h>

#include "core/text.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/matching.h"

namespace fusegrid::methods::weight_matching {
namespace {

struct Options {
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("weight_matching", t, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  int64_t sweeps = 0;
  const auto alignments = onto_the_first(in, [&](size_t i) {
    const Matching found = match(groups, weight_products(in.expert(0), in.expert(i), groups), unmoved(groups),
                                 [&] { in.tick(); });
    sweeps += found.sweeps;
    return found.alignment;
  });
  FusedModel model = merge_aligned(in, alignments, options.t);
  model.facts["sweeps"] = number_text(sweeps);
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "weight_matching",
     .title = "Git Re-Basin, weight matching",
     .paper = "Ainsworth et al., ICLR 2023, arXiv:2209.04836",
     .formula = R"(pi_i  = argmax_pi <theta_1, pi(theta_i)>,   pi: permutations of the units of all layers
theta = (1 - t) theta_1 + t pi_2(theta_2)   or   1/N sum_i pi_i(theta_i))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .demands = {Demand::kAxisGroups},
     .order_invariant = false,
     .cost = Cost::kMatrix,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::weight_matching
