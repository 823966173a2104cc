// MuDSC: match units by what they are and by what they do, in weight space and in activation space at once.
//
//   S = alpha corr(weights) + (1 - alpha) corr(activations),   pi_i = argmax_pi sum_k S_k,pi(k)
//
// Source:  Xu et al., "Training-Free Pretrained Model Merging", CVPR 2024, arXiv:2403.01753, and the authors' code,
//          where the coefficient belongs to the weights and a search that goes in circles ends after five sweeps
//          without a gain.
// Differs: of more than two models each is matched to the first by assignments; zips take all at once. Units of several
//          entries (heads of attention) are matched as wholes, not their entries among each other. alpha is 0.5 where
//          the authors choose it by data. What a zip is worth is the mean similarity of parts that became one.
// Grain:   whole model: forward passes.
// Cost:    one forward pass of `examples` inputs per model, then as weight_matching.

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
#include "core/text.h"
#include "fusion/alignment/activations.h"
#include "fusion/alignment/aligned_merge.h"
#include "fusion/alignment/matching.h"
#include "fusion/alignment/zip.h"

namespace fusegrid::methods::mudsc {
namespace {

constexpr int64_t kPatience = 5;

constexpr ZipRule kZip{.a = 0.5, .b = 1};  // the authors'

struct Options {
  double alpha = 0.5;
  std::string matching = "assignment";
  int64_t examples = 1000;
  double t = 0.5;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("alpha", alpha, Range{0, 1},
            "part of the weights in the similarity; the rest is that of activations");
    v.param("matching", matching, Choices{"assignment", "zip"},
            "one unit of each model for one of the first, or the most similar units of all models");
    describe_matching_examples(v, examples);
    describe_position(v, t);
  }
  void check(int64_t experts) const {
    check_position("mudsc", t, experts);
    if (matching == "zip" && t != 0.5) {
      throw ConfigError(
          "method 'mudsc' zips models into one, which has no position t between them; leave t at 0.5, or "
          "use matching = assignment");
    }
  }
};

using Activations = std::map<std::string, UnitActivations>;

FusedModel merged_by_assignments(const FusionInput& in, const Options& options,
                                 const Activations& activations) {
  const std::vector<AxisGroup> groups = in.network().architecture->axis_groups();
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

// Zips group after group, while what the other groups became changes what is alike.
class ZipSearch {
 public:
  ZipSearch(const FusionInput& in, const Options& options, const Activations& activations)
      : in_(in), options_(options), activations_(activations), models_(in.experts()) {
    current_.assign(models_.size(), unit_maps_of(unmoved(groups_), in.device()));
  }

  // The fixed point of the sweeps or, where they go in circles, what was worth most.
  FusedModel merged() {
    std::vector<UnitMaps> best;
    double highest = -std::numeric_limits<double>::infinity();
    int64_t sweep = 0;
    int64_t since_best = 0;
    while (sweep < kMostSweeps && since_best < kPatience) {
      changed_ = false;
      const double worth = swept(++sweep);
      if (!changed_) {
        best = current_;
        break;
      }
      since_best = worth > highest ? 0 : since_best + 1;
      if (since_best == 0) {
        highest = worth;
        best = current_;
      }
    }
    FusedModel model = one_model(merged_by_maps(models_, groups_, best));
    model.readouts = mapped_readouts(in_, best);
    model.facts["sweeps"] = number_text(sweep);
    return model;
  }

 private:
  // Mean over groups of the mean similarity of two parts of one merged unit.
  double swept(int64_t sweep) {
    double worth = 0;
    for (const int64_t index : visits_of_sweep(sweep, groups_.size())) {
      const AxisGroup& group = groups_[static_cast<size_t>(index)];
      const at::Tensor similar = weight_correlations(models_, group, axes_, current_) * options_.alpha +
                                 activations_.at(group.name).correlations * (1 - options_.alpha);
      const std::vector<UnitMap> zipped = zipped_units(similar, models_.size(), kZip);
      std::vector<at::Tensor> reads;
      for (size_t i = 0; i < models_.size(); ++i) {
        UnitMap& own = current_[i].at(group.name);
        changed_ = changed_ || !own.makes.equal(zipped[i].makes);
        own = zipped[i];
        reads.push_back(own.reads);
      }
      const at::Tensor parts = concatenate(reads);
      const at::Tensor together = at::matmul(parts, parts.t()).fill_diagonal_(0);
      worth +=
          ((similar * together).sum() / together.sum()).item<double>() / static_cast<double>(groups_.size());
      in_.tick();
    }
    return worth;
  }

  const FusionInput& in_;
  const Options& options_;
  const Activations& activations_;
  std::vector<Weights> models_;
  std::vector<AxisGroup> groups_ = in_.network().architecture->axis_groups();
  AxesByTensor axes_ = axes_by_tensor(groups_);
  std::vector<UnitMaps> current_;
  bool changed_ = false;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const at::NoGradGuard no_grad;
  const Activations activations = unit_activations(in, options.examples);
  return options.matching == "zip" ? ZipSearch(in, options, activations).merged()
                                   : merged_by_assignments(in, options, activations);
}

const RegisterMethod<Options> registered{
    {.name = "mudsc",
     .title = "MuDSC",
     .paper = "Xu et al., CVPR 2024, arXiv:2403.01753",
     .formula =
         R"(S     = alpha corr(w_1, w_i) + (1 - alpha) corr(a_1, a_i),   w: weights of a unit, a: its activations
pi_i  = argmax_pi sum_k S_k,pi(k),   group after group until nothing changes
theta = (1 - t) theta_1 + t pi_2(theta_2)   or   1/N sum_i pi_i(theta_i)   or the zip by S, see zipit)",
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
