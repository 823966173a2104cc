// Empirical Fisher merging: average the experts with the squared gradients of their labelled examples' losses as
// weights.
//
// Source:  Matena & Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022, arXiv:2111.09832, as Tam et
//          al., "Realistic Evaluation of Model Merging for Compositional Generalization", 2024, arXiv:2409.18314, and
//          MaTS compute it: the label that is observed stands for what the model would answer.
// Differs: the loss is that of training, so that numbers and texts have one too (of a text the mean over its tokens).
//          Floor and norms are those of `fisher`, which sees no labels.
// Cost:    256 examples forward and backward per expert, one by one, shared between cells; one pass.

#include "fusion/passes/fisher_average.h"

namespace fusegrid::methods::empirical_fisher {
namespace {

struct Options {
  int64_t examples = 256;
  bool normalize = true;
  double floor = 1e-6;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("examples", examples, Range{1, 1e6}, "labelled training examples per expert");
    v.param("normalize", normalize, "weigh each expert by the inverse norm of its Fisher diagonal");
    v.param("floor", floor, Range{1e-20, 1},
            "added to every entry; where all entries are tiny it gives the average");
  }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  std::vector<std::shared_ptr<const Weights>> diagonals;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    diagonals.push_back(in.loss_gradients(i, options.examples, 2, /*at_base=*/false));
  }
  return fisher_average(in, diagonals, options.normalize, options.floor);
}

const RegisterMethod<Options> registered{
    {.name = "empirical_fisher",
     .title = "Empirical Fisher Merging",
     .paper = "Matena & Raffel, NeurIPS 2022, arXiv:2111.09832; Tam et al., 2024, arXiv:2409.18314",
     .formula = R"(theta = sum_i c_i (F_i + floor) theta_i / sum_i c_i (F_i + floor)   per parameter
F_i = mean over labelled examples of (d loss)^2
c_i proportional to 1 / |F_i| if normalize, else 1)",
     .family = Family::kStatistics,
     .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::empirical_fisher
