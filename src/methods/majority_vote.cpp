// Majority vote: the class that most experts choose.
//
// Source:  Dietterich, "Ensemble Methods in Machine Learning", MCS 2000.
// Differs: classes with as many votes are told apart by the mean probability. The answer is the mean distribution of
//          the experts that chose the class, so it has a loss.
// Cost:    no fusion; every inference runs N models.

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/log.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/fusion_input.h"

namespace fusegrid::methods::majority_vote {
namespace {

at::Tensor mean_of_majority(const std::vector<at::Tensor>& logits, const std::string& /*head*/) {
  const at::Tensor p = at::softmax(at::stack(logits), -1);  // [experts, n, classes]
  const at::Tensor chosen = at::argmax(p, -1);              // [experts, n]
  const at::Tensor votes = at::zeros_like(p).scatter_(-1, chosen.unsqueeze(-1), 1).sum(0);
  const at::Tensor winner =
      at::argmax(votes + p.mean(0) / 2, -1);  // a mean probability counts less than a vote
  const at::Tensor agrees = (chosen == winner).to(p.scalar_type()).unsqueeze(-1);
  return at::log((p * agrees).sum(0) / agrees.sum(0));
}

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  return ensemble(in.experts(), EnsembleLevel::kLogits, mean_of_majority);
}

const RegisterMethod<NoOptions> registered{
    {.name = "majority_vote",
     .title = "Majority Vote",
     .paper = "Dietterich, MCS 2000",
     .formula = R"(c(x) = the class that is the most probable one for most experts
p(x) = mean of p_i(x) over the experts i that chose it)",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .demands = {Demand::kClasses},
     .yields = Yields::kEnsemble},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::majority_vote
