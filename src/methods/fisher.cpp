// Fisher merging: average the experts with the diagonal of their Fisher information as weights.
//
// Source:  Matena & Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022, arXiv:2111.09832.
//          variant=batch_squared (default) is what FusionBench and MergeLM compute, exact is the paper's, and sampled
//          an estimate of it that any number of classes allows; that of labels is the method `empirical_fisher`.
// Differs: from the authors, whose coefficients of the models are searched on validation data and who have
//          max(F, floor): here a coefficient is 1 or, with `normalize`, comes from the diagonal's norm, and the floor
//          is added, both as in FusionBench. The inputs are the first of the shuffled training split.
// Cost:    256 inputs forward and backward per expert (exact: times the classes), shared between cells; one
//          pass.

#include "fusion/passes/fisher_average.h"

namespace fusegrid::methods::fisher {
namespace {

struct Options {
  int64_t examples = 256;
  int64_t batch = 32;
  std::string variant = "batch_squared";
  bool normalize = true;
  double floor = 1e-6;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "unlabelled training inputs per expert");
    v.param("batch", batch, Range{1, 4096},
            "batch_squared: inputs whose gradients are summed before squaring");
    v.param("variant", variant, Choices{"batch_squared", "exact", "sampled"},
            "which estimate of the diagonal");
    v.param("normalize", normalize, "weigh each expert by the inverse norm of its Fisher diagonal");
    v.param("floor", floor, Range{1e-20, 1},
            "added to every entry; where all entries are tiny it gives the average");
  }
  // exact: a backward pass for each class of each example.
  std::set<Demand> demands() const {
    return variant == "exact" ? std::set<Demand>{Demand::kClasses} : std::set<Demand>{};
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<std::shared_ptr<const Weights>> fishers;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    fishers.push_back(in.fisher(i, options.examples, options.batch, options.variant));
  }
  return fisher_average(in, fishers, options.normalize, options.floor);
}

const RegisterMethod<Options> registered{
    {.name = "fisher",
     .title = "Fisher Merging",
     .paper = "Matena & Raffel, NeurIPS 2022, arXiv:2111.09832",
     .formula = R"(theta = sum_i c_i (F_i + floor) theta_i / sum_i c_i (F_i + floor)   per parameter
c_i proportional to 1 / |F_i| if normalize (so that no expert dominates by the size of its gradients), else 1)",
     .family = Family::kStatistics,
     .needs = {Need::kTrainInputs, Need::kGradients},
     .demands = {Demand::kDistribution},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::fisher
