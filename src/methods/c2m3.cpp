// C2M3: match the units of all models at once into one common order, then average. Going from model to model in a
// circle leads back to every unit, which matching by pairs does not promise.
//
//   P = argmax sum_{p<q} <P_p(theta_p), P_q(theta_q)>,   theta = 1/N sum_p P_p(theta_p)
//
// Source:  Crisostomi et al., "C^2M^3: Cycle-Consistent Multi-Model Merging", NeurIPS 2024, arXiv:2405.17897.
// Differs: the length of a step is the best of 1,000 by the exact polynomial, not by a search. The merged model is
//          given in the order of the first model's units, which is the same function. REPAIR is the parameter
//          `statistics`.
// Grain:   whole model: a model's permutation depends on all others.
// Cost:    per iteration a dozen products of each matrix of all models, and an assignment per group and model.

#include <ATen/core/grad_mode.h>

#include "core/text.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/cycle_consistent.h"

namespace fusegrid::methods::c2m3 {
namespace {

struct Options {
  int64_t iterations = 100;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("iterations", iterations, Range{1, 10000}, "steps of Frank-Wolfe's method at most");
    describe_position(v, t);
  }
  void check(int64_t experts) const { check_position("c2m3", t, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const CycleConsistent found = match_in_cycles(in.experts(), in.network().architecture->axis_groups(),
                                                options.iterations, [&] { in.tick(); });
  FusedModel model = merge_aligned(in, found.onto_first, options.t);
  model.facts["iterations"] = number_text(found.iterations);
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "c2m3",
     .title = "C2M3",
     .paper = "Crisostomi et al., NeurIPS 2024, arXiv:2405.17897",
     .formula =
         R"(P     = argmax_P sum_{p<q} <P_p(theta_p), P_q(theta_q)>,   P_p: permutations of the units of model p
theta = 1/N sum_p P_p(theta_p)   or   (1 - t) P_1(theta_1) + t P_2(theta_2))",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .demands = {Demand::kAxisGroups},
     .cost = Cost::kMatrix,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::c2m3
