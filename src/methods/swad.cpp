// SWAD: the mean of the checkpoints of a run from where its validation loss stops falling to where it rises again.
//
// Source:  Cha et al., "SWAD: Domain Generalization by Seeking Flat Minima", NeurIPS 2021, arXiv:2102.08604, algorithm
//          1.
// Differs: experts are the checkpoints, in the order of the run, and none lies between them; where the loss rises no
//          more the mean goes to the end, and where too few checkpoints are left to tell, with those that there are.
// Cost:    a pass over the validation examples for each checkpoint.

#include <algorithm>
#include <numeric>

#include "core/text.h"
#include "fusion/whole_model/validation_score.h"

namespace fusegrid::methods::swad {
namespace {

struct Options {
  int64_t converged = 3;
  int64_t overfitted = 6;
  double tolerance = 1.2;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("converged", converged, Range{1, 1e6},
            "it starts at the first checkpoint whose loss is the lowest of so many from it on");
    v.param("overfitted", overfitted, Range{1, 1e6},
            "it ends before so many checkpoints that are all above the tolerance");
    v.param("tolerance", tolerance, Range{0, 1e6}, "in units of the mean loss of those from the start on");
  }
};

struct Span {
  size_t begin = 0, end = 0;  // [begin, end)
};

Span chosen_span(const std::vector<double>& losses, const Options& options) {
  const auto from = [&](size_t first, int64_t count) {
    return losses.begin() +
           static_cast<std::ptrdiff_t>(std::min(first + static_cast<size_t>(count), losses.size()));
  };
  const auto at = [&](size_t i) { return losses.begin() + static_cast<std::ptrdiff_t>(i); };
  Span span{0, losses.size()};
  while (*std::min_element(at(span.begin), from(span.begin, options.converged)) < losses[span.begin]) {
    ++span.begin;
  }
  const auto first_end = from(span.begin, options.converged);
  const double limit = options.tolerance * std::accumulate(at(span.begin), first_end, 0.0) /
                       static_cast<double>(first_end - at(span.begin));
  for (size_t i = span.begin + 1; i + static_cast<size_t>(options.overfitted) <= losses.size(); ++i) {
    if (*std::min_element(at(i), from(i, options.overfitted)) > limit) {
      span.end = i;
      break;
    }
  }
  return span;
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const ValidationScorer score(in);
  std::vector<double> losses;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    losses.push_back(score(in.expert(i)).loss);
  }
  const Span span = chosen_span(losses, options);
  FusedModel fused = one_model(in.map_elements([&](const Slice& slice) {
    const auto views = slice.expert_views();
    return mean_of(std::vector<SliceVector>(views.begin() + static_cast<std::ptrdiff_t>(span.begin),
                                            views.begin() + static_cast<std::ptrdiff_t>(span.end)));
  }));
  const auto& names = in.expert_names();
  fused.facts["chosen"] = names[span.begin] + " to " + names[span.end - 1];
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "swad",
     .title = "SWAD",
     .paper = "Cha et al., NeurIPS 2021, arXiv:2102.08604",
     .formula = R"(l_i     validation loss of checkpoint i
begin   the first i with l_i = min(l_i, ..., l_(i + converged - 1))
end     the first i behind it with min(l_i, ..., l_(i + overfitted - 1)) > tolerance mean(l_begin, ..., l_(begin + converged - 1))
theta = mean of theta_begin, ..., theta_(end - 1))",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kValidationExamples},
     .demands = {Demand::kClasses},
     .order_invariant = false,
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::swad
