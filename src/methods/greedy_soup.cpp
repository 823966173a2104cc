// Greedy soup: the average of the experts that do better together, tried in the order of how well each does alone.
//
// Source:  Wortsman et al., "Model Soups: Averaging Weights of Multiple Fine-Tuned Models Improves Accuracy without
//          Increasing Inference Time", ICML 2022, arXiv:2203.05482, recipe 1.
// Differs: the score is the mean accuracy over the experts' tasks; of equal accuracies the lower loss decides, in the
//          order and whether an expert stays, and of equal losses the names.
// Cost:    2 N - 1 passes over the validation examples of all tasks; a sum and a candidate are held beside the experts.

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>

#include "core/text.h"
#include "fusion/whole_model/validation_score.h"

namespace fusegrid::methods::greedy_soup {
namespace {

// The models that were stirred in, as their sum.
class Soup {
 public:
  explicit Soup(const Weights& first) : sum_(first), models_(1) {}

  Weights average_with(const Weights& model) const {
    return each([&](const std::string& name, const at::Tensor& sum) {
      return (sum + model.at(name)) / static_cast<double>(models_ + 1);
    });
  }
  Weights average() const {
    return each(
        [&](const std::string&, const at::Tensor& sum) { return sum / static_cast<double>(models_); });
  }
  void add(const Weights& model) {
    sum_ = each([&](const std::string& name, const at::Tensor& sum) { return sum + model.at(name); });
    ++models_;
  }

 private:
  // Buffers are those of the first model.
  Weights each(const std::function<at::Tensor(const std::string&, const at::Tensor&)>& value) const {
    Weights made;
    for (const auto& [name, sum] : sum_) {
      made.emplace(name, sum.is_floating_point() ? value(name, sum) : sum);
    }
    return made;
  }

  Weights sum_;
  int64_t models_;
};

FusedModel fuse(const FusionInput& in, const NoOptions&) {
  const ValidationScorer score(in);
  std::vector<ValidationScore> alone;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    alone.push_back(score(in.expert(i)));
  }
  std::vector<size_t> order(in.num_experts());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const bool differ = alone[a].better_than(alone[b]) || alone[b].better_than(alone[a]);
    return differ ? alone[a].better_than(alone[b]) : in.expert_names()[a] < in.expert_names()[b];
  });

  Soup soup(in.expert(order.front()));
  ValidationScore best = alone[order.front()];
  std::vector<std::string> chosen{in.expert_names()[order.front()]};
  for (auto next = order.begin() + 1; next != order.end(); ++next) {
    const ValidationScore with = score(soup.average_with(in.expert(*next)));
    if (!best.better_than(with)) {
      soup.add(in.expert(*next));
      best = with;
      chosen.push_back(in.expert_names()[*next]);
    }
  }
  FusedModel fused = one_model(soup.average());
  fused.facts["chosen"] = join(chosen, " ");
  return fused;
}

const RegisterMethod<NoOptions> registered{
    {.name = "greedy_soup",
     .title = "Greedy soup",
     .paper = "Wortsman et al., ICML 2022, arXiv:2203.05482",
     .formula = R"(experts in the order of their mean accuracy over the experts' tasks on validation
theta = mean of those that were kept,   an expert is kept where the mean with it scores no less
chosen by scores on validation: its validation score is biased upwards)",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kValidationExamples},
     .demands = {Demand::kClasses},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::greedy_soup
