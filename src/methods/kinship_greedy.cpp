// Top-k greedy merging with model kinship: breed the best models with each other, and the best one with the most
// distant of its generation, until the best stay the same.
//
// Source:  Hu et al., "Exploring Model Kinship for Merging Large Language Models", 2024, arXiv:2410.12613. Its text
//          and its tables explore with the model of LOWEST kinship (its algorithm box says highest).
// Differs: scores are accuracies on the validation split, averaged over the experts' tasks; equal ones are told
//          apart by the mean loss, then by age. Of tasks that are not all of classes they are parts of the best
//          expert's metric (fusion/whole_model/validation_score.h).
// Grain:   whole model: every candidate is scored by forward passes before the next is bred.
// Cost:    N (N - 1) / 2 merges and scores in the first generation, at most k (k - 1) / 2 + 1 in each later one. One
//          candidate is whole at a time: SLERP goes tensor by tensor, so any is made again from the experts.

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/TensorOperators.h>

#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/passes/interpolation.h"
#include "fusion/whole_model/validation_score.h"

namespace fusegrid::methods::kinship_greedy {
namespace {

struct Options {
  std::string metric = "pearson";
  int64_t k = 3;
  bool explore = true;
  double stop = 0.9;
  int64_t generations = 10;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("metric", metric, Choices{"pearson", "cosine", "euclidean"},
            "kinship: correlation, cosine or distance of two task vectors");
    v.param("k", k, Range{2, 100}, "models that a generation keeps");
    v.param("explore", explore, "also merge the best with the one least akin to it; false: plain greedy");
    v.param("stop", stop, Range{0, 1}, "stop when the mean kinship of the kept exceeds it (not euclidean)");
    v.param("generations", generations, Range{1, 1000}, "at most so many");
  }
};

// The tensors with one name of two models.
using TensorPair = std::function<std::pair<at::Tensor, at::Tensor>(const std::string& name)>;

// Kinship of two models by their task vectors; larger is closer, so a distance counts negative. 0 where one of them is
// the base.
double kinship(const Weights& base, const TensorPair& tensors, const std::string& metric) {
  double n = 0;
  double sum_a = 0;
  double sum_b = 0;
  double aa = 0;
  double bb = 0;
  double ab = 0;
  for (const auto& [name, origin] : base) {
    if (origin.is_floating_point()) {
      const auto [a, b] = tensors(name);
      const at::Tensor of_a = (a - origin).to(at::kDouble);
      const at::Tensor of_b = (b - origin).to(at::kDouble);
      n += static_cast<double>(origin.numel());
      sum_a += of_a.sum().item<double>();
      sum_b += of_b.sum().item<double>();
      aa += of_a.square().sum().item<double>();
      bb += of_b.square().sum().item<double>();
      ab += (of_a * of_b).sum().item<double>();
    }
  }
  if (metric == "euclidean") {
    return -std::sqrt(std::max(0.0, aa + bb - 2 * ab));
  }
  if (metric == "pearson") {
    aa -= sum_a * sum_a / n;
    bb -= sum_b * sum_b / n;
    ab -= sum_a * sum_b / n;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

struct Candidate {
  std::string name;
  std::optional<std::pair<size_t, size_t>> parents;  // none: the expert with its index
  ValidationScore score = {};
};

class Breeder {
 public:
  Breeder(const FusionInput& in, const Options& options) : in_(in), options_(options), score_(in) {
    for (size_t i = 0; i < in.num_experts(); ++i) {
      candidates_.push_back({in.expert_names()[i], {}, score_(in.expert(i))});
      kept_.push_back(i);
    }
  }

  // Index of the best model of all that were bred.
  size_t run() {
    for (int64_t generation = 0; generation < options_.generations; ++generation) {
      const std::vector<size_t> parents = kept_;
      for (size_t i = 0; i < parents.size(); ++i) {
        for (size_t j = i + 1; j < parents.size(); ++j) {
          breed(parents[i], parents[j]);
        }
      }
      if (options_.explore && generation > 0) {
        explore(parents);
      }
      kept_ = best();
      if (kept_ == parents || too_akin()) {
        break;
      }
    }
    return kept_.front();
  }

  const std::string& name(size_t index) const { return candidates_[index].name; }
  Weights weights(size_t index) const {
    Weights made;
    for (const auto& [name, unused] : in_.expert(0)) {
      Made ancestors;
      made[name] = tensor(index, name, ancestors);
    }
    return made;
  }
  std::string log() const { return join(log_, "; "); }

 private:
  using Made = std::map<size_t, at::Tensor>;  // by candidate

  // One tensor of a candidate. `made`: those with the same name of others, so that common ancestors are made once.
  at::Tensor tensor(size_t index, const std::string& name, Made& made) const {
    const auto& parents = candidates_[index].parents;
    if (!parents) {
      return in_.expert(index).at(name);
    }
    if (const auto known = made.find(index); known != made.end()) {
      return known->second;
    }
    const at::Tensor first = tensor(parents->first, name, made);
    const at::Tensor second = tensor(parents->second, name, made);
    const at::Tensor merged = first.is_floating_point() ? slerp(first, second, 0.5, kCollinear) : first;
    made.emplace(index, merged);
    return merged;
  }

  // Merges two models, each pair once.
  void breed(size_t a, size_t b) {
    if (!bred_.emplace(std::min(a, b), std::max(a, b)).second) {
      return;
    }
    candidates_.push_back({"(" + candidates_[a].name + "+" + candidates_[b].name + ")", std::pair(a, b)});
    candidates_.back().score = score_(weights(candidates_.size() - 1));
    log_.push_back(candidates_.back().name + " kinship=" + number_text(kinship_of(a, b)) +
                   " val=" + number_text(candidates_.back().score.accuracy));
  }

  // The best model so far and the one of the last generation that is least akin to it.
  void explore(const std::vector<size_t>& parents) {
    const size_t leader = best().front();
    std::optional<size_t> partner;
    for (const size_t parent : parents) {
      if (parent != leader && (!partner || kinship_of(leader, parent) < kinship_of(leader, *partner))) {
        partner = parent;
      }
    }
    if (partner) {
      breed(leader, *partner);
    }
  }

  double kinship_of(size_t a, size_t b) {
    const auto [known, fresh] = kinships_.try_emplace({a, b});
    if (fresh) {
      const auto tensors = [&](const std::string& name) {
        Made ancestors;
        const at::Tensor of_a = tensor(a, name, ancestors);
        return std::pair(of_a, tensor(b, name, ancestors));
      };
      known->second = kinship(in_.base(), tensors, options_.metric);
    }
    return known->second;
  }

  // The k best of all, the best first.
  std::vector<size_t> best() const {
    std::vector<size_t> order(candidates_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
    }
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return candidates_[a].score.better_than(candidates_[b].score);
    });
    order.resize(std::min(order.size(), static_cast<size_t>(options_.k)));
    return order;
  }

  bool too_akin() {
    if (options_.metric == "euclidean" || kept_.size() < 2) {
      return false;
    }
    double sum = 0;
    double pairs = 0;
    for (size_t i = 0; i < kept_.size(); ++i) {
      for (size_t j = i + 1; j < kept_.size(); ++j) {
        sum += kinship_of(kept_[i], kept_[j]);
        ++pairs;
      }
    }
    return sum / pairs > options_.stop;
  }

  static constexpr double kCollinear = 0.9995;  // SLERP's usual threshold

  const FusionInput& in_;
  Options options_;
  ValidationScorer score_;
  std::vector<Candidate> candidates_;
  std::vector<size_t> kept_;
  std::set<std::pair<size_t, size_t>> bred_;
  std::map<std::pair<size_t, size_t>, double> kinships_;
  std::vector<std::string> log_;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  Breeder breeder(in, options);
  const size_t winner = breeder.run();
  FusedModel fused = one_model(breeder.weights(winner));
  fused.facts["chosen"] = breeder.name(winner);
  fused.facts["merges"] = breeder.log();
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "kinship_greedy",
     .title = "Top-k greedy with kinship",
     .paper = "Hu et al., 2024, arXiv:2410.12613",
     .formula = R"(kinship(a, b) = correlation | cosine | -distance of the task vectors of a and b
repeat: SLERP (t = 1/2) every pair of the k best that was not merged yet, and (from the second time on) the best
with the parent least akin to it; score all on validation; keep the k best of everything scored
until they stay the same, or their mean kinship exceeds `stop`; theta = the best
chosen by scores on validation: its validation score is biased upwards)",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kValidationExamples},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::kinship_greedy
