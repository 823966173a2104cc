// ZipIt!: merge units that do the same, whichever models they are of, also two of one model, so that models of
// different tasks keep what they do not share.
//
//   theta = sum_i M_i theta_i U_i,   M, U: of the greedy pairs of units with the highest correlations
//
// Source:  Stoica et al., "ZipIt! Merging Models from Different Tasks without Training", ICLR 2024, arXiv:2305.03053,
//          and the authors' code, whose defaults these are.
// Differs: rows of M sum to 1 (the original adds 1e-5 to the divisor, so each layer shrinks). A pair counts as within a
//          model only while both units are of that model alone, and without a budget there is none (the original lets
//          the first one pass). Of a residual stream the correlations of all its nodes are averaged.
//          Partly zipped models keep the rest side by side in matrices of blocks, which is the same function as
//          branches.
// Grain:   whole model: forward passes.
// Cost:    one forward pass of `examples` inputs per model; per group a greedy search, about (N units)^2 to ^3.

#include <ATen/core/grad_mode.h>

#include "core/text.h"
#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/zip.h"

namespace fusegrid::methods::zipit {
namespace {

struct Options {
  ZipRule rule;
  int64_t examples = 1000;
  int64_t apart = 0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("a", rule.a, Range{0, 1},
            "what the correlations of a merged unit are worth; 0: it is merged no further (two models)");
    v.param("b", rule.b, Range{0, 1}, "part of a model's merges that may be of two of its own units");
    describe_matching_examples(v, examples);
    v.param(
        "apart", apart, Range{0, 1e6},
        "axis groups at the end that are not merged: a partial zip, whose layers there stand side by side");
  }
  void check(int64_t experts) const {
    if (rule.a == 0 && experts > 2) {
      throw ConfigError(
          "method 'zipit' with a = 0 merges pairs alone, which leave more units than one model has where " +
          std::to_string(experts) + " are merged; use a > 0, or merge two models");
    }
  }
  std::set<Demand> demands() const {
    return apart > 0 ? std::set<Demand>{Demand::kFreeWidths} : std::set<Demand>{};
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
  const auto count = static_cast<int64_t>(groups.size());
  if (options.apart > count) {
    throw ConfigError("method 'zipit' can keep at most the " + std::to_string(count) +
                      " axis groups of the architecture apart, but apart = " + number_text(options.apart));
  }
  const auto activations = unit_activations(in, options.examples);
  std::vector<UnitMaps> maps(in.num_experts());
  for (int64_t g = 0; g < count; ++g) {
    const AxisGroup& group = groups[static_cast<size_t>(g)];
    const std::vector<UnitMap> of_models =
        g < count - options.apart
            ? zipped_units(activations.at(group.name).correlations, in.num_experts(), options.rule)
            : units_apart(group.size, in.num_experts(), in.device());
    for (size_t i = 0; i < maps.size(); ++i) {
      maps[i][group.name] = of_models[i];
    }
    in.tick();
  }
  FusedModel model = one_model(merged_by_maps(in.experts(), groups, maps));
  if (options.apart > 0) {
    model.stored_parameters = stored_entries(in.experts(), groups, maps);
  }
  model.readouts = mapped_readouts(in, maps);
  return model;
}

const RegisterMethod<Options> registered{
    {.name = "zipit",
     .title = "ZipIt!",
     .paper = "Stoica et al., ICLR 2024, arXiv:2305.03053",
     .formula =
         R"(per group: the two most correlated units of all models become one, until as many are left as one model has
M_i: a merged unit is the mean of its parts,   U_i: what reads a unit reads the merged one
theta = sum_i M_i theta_i U_i,   what makes no group: the mean over i)",
     .family = Family::kAlignment,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs},
     .demands = {Demand::kAxisGroups},
     .cost = Cost::kForwardPasses,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::zipit
