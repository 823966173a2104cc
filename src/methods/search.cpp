// Search: parameters of another method, coefficients of the experts and of the blocks of the merged model, chosen by
// scores on validation examples within a budget, as evolutionary merging does.
//
//   theta_l = theta_0,l + c_l (m(x)_l - theta_0,l)     m(x): the method at parameters x;  l: a block, or all that lies
//                                                      outside of blocks
//
// Source:  Akiba et al., "Evolutionary Optimization of Model Merging Recipes", Nature Machine Intelligence 2025,
//          arXiv:2403.13187 (parameter space); random search: Bergstra & Bengio, JMLR 2012.
// Differs: the search is over a box, begins with its middle, and keeps the best point that was evaluated.
// Cost:    `budget` merges and passes over the validation examples of all tasks.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include <ATen/TensorOperators.h>

#include "core/block_name.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "core/text.h"
#include "fusion/whole_model/evolution.h"
#include "fusion/whole_model/validation_score.h"

namespace fusegrid::methods::search {
namespace {

bool has_parameter(const Method& method, const std::string& name) {
  const auto params = method.params();
  return std::any_of(params.begin(), params.end(), [&](const ParamInfo& each) { return each.name == name; });
}

// Those that make one model of the experts and the base alone and have something to search over.
Choices searchable_methods() {
  Choices names;
  for (const std::string& name : method_registry().names()) {
    if (name == "search") {
      continue;
    }
    const Method& method = method_registry().at(name);
    const bool alone = std::all_of(method.card.needs.begin(), method.card.needs.end(),
                                   [](Need need) { return need == Need::kPretrained; });
    const bool has_any = has_parameter(method, "scale") || has_parameter(method, "density") ||
                         has_parameter(method, "weights");
    if (alone && has_any && method.card.yields == Yields::kOneModel && method.card.min_experts == 1) {
      names.push_back(name);
    }
  }
  return names;
}

struct Options {
  std::string method = "task_arithmetic";
  std::vector<double> scale{0, 1};
  std::vector<double> density;
  std::vector<double> weights;
  std::vector<double> blocks;
  std::string algorithm = "cma_es";
  int64_t budget = 60;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("method", method, searchable_methods(),
            "whose parameters are searched; others keep their defaults");
    v.param("scale", scale, Range{-2, 3}, "low:high of the method's parameter scale; empty: its default");
    v.param("density", density, Range{0.001, 1}, "low:high of its parameter density; empty: its default");
    v.param("weights", weights, Range{-100, 100},
            "low:high of the weight of each expert, its parameter weights; empty: its default");
    v.param(
        "blocks", blocks, Range{-2, 3},
        "low:high of a coefficient of each transformer block, and of one for all other tensors; empty: 1");
    v.param("algorithm", algorithm, Choices{"cma_es", "random"},
            "evolution strategy with covariance matrix adaptation, or independent uniform points");
    v.param("budget", budget, Range{1, 1e6}, "models that are evaluated on validation");
  }

  void check(int64_t /*experts*/) const {
    bool any = false;
    for (const auto& [name, box] :
         {std::pair("scale", scale), {"density", density}, {"weights", weights}, {"blocks", blocks}}) {
      if (box.empty()) {
        continue;
      }
      any = true;
      if (box.size() != 2 || !(box[0] < box[1])) {
        throw ConfigError(std::string("method 'search' takes ") + name +
                          " as low:high, with low below high, or nothing");
      }
      if (name != std::string("blocks") && !has_parameter(method_registry().at(method), name)) {
        throw ConfigError("method 'search' is asked to search over '" + std::string(name) +
                          "', but method '" + method + "' has no such parameter; leave it empty (" + name +
                          " =)");
      }
    }
    if (!any) {
      throw ConfigError(
          "method 'search' needs something to search over; give scale, density, weights or blocks");
    }
  }
};

// From a point of the unit box to a model.
class Space {
 public:
  Space(const FusionInput& in, const Options& options)
      : in_(in), options_(options), method_(method_registry().at(options.method)) {
    for (const TensorInfo& info : in.tensors()) {
      const BlockName name = block_name(info.name);
      if (name.inside) {
        blocks_ = std::max(blocks_, name.block + 1);
      }
    }
  }

  size_t dimensions() const {
    return (options_.scale.empty() ? 0 : 1) + (options_.density.empty() ? 0 : 1) +
           (options_.weights.empty() ? 0 : in_.num_experts()) +
           (options_.blocks.empty() ? 0 : static_cast<size_t>(blocks_) + 1);
  }

  // What the point stands for: the method's parameters and the blocks' coefficients.
  std::pair<ParamText, std::vector<double>> decode(const std::vector<double>& point) const {
    size_t next = 0;
    const auto value = [&](const std::vector<double>& box) {
      return box[0] + (box[1] - box[0]) * point[next++];
    };
    ParamText parameters;
    if (!options_.scale.empty()) {
      parameters["scale"] = number_text(value(options_.scale));
    }
    if (!options_.density.empty()) {
      parameters["density"] = number_text(value(options_.density));
    }
    if (!options_.weights.empty()) {
      std::vector<std::string> weights;
      for (size_t i = 0; i < in_.num_experts(); ++i) {
        weights.push_back(number_text(value(options_.weights)));
      }
      parameters["weights"] = join(weights, ":");
    }
    std::vector<double> coefficients;
    for (size_t block = 0; !options_.blocks.empty() && block <= static_cast<size_t>(blocks_); ++block) {
      coefficients.push_back(value(options_.blocks));
    }
    return {parameters, coefficients};
  }

  Weights model(const std::vector<double>& point) const {
    const auto [parameters, coefficients] = decode(point);
    const FusedModel fused = method_.fuse(in_, parameters);
    Weights merged = fused.predictor->weights();
    if (coefficients.empty()) {
      return merged;
    }
    for (auto& [name, tensor] : merged) {
      if (tensor.is_floating_point() && !is_running_statistic(name, tensor)) {
        const BlockName place = block_name(name);
        const double coefficient = coefficients[static_cast<size_t>(place.inside ? place.block : blocks_)];
        const at::Tensor& base = in_.base().at(name);
        tensor = base + (tensor - base) * coefficient;
      }
    }
    return merged;
  }

  std::string text(const std::vector<double>& point) const {
    const auto [parameters, coefficients] = decode(point);
    std::vector<std::string> parts;
    for (const auto& [name, value] : parameters) {
      parts.push_back(name + "=" + value);
    }
    for (size_t block = 0; block < coefficients.size(); ++block) {
      const bool outside = block + 1 == coefficients.size();
      parts.push_back((outside ? "outside" : "block" + std::to_string(block)) + "=" +
                      number_text(coefficients[block]));
    }
    return join(parts, " ");
  }

 private:
  const FusionInput& in_;
  const Options& options_;
  const Method& method_;
  int64_t blocks_ = 0;
};

// The best point of those that were evaluated.
class Search {
 public:
  Search(const FusionInput& in, const Space& space, int64_t budget)
      : in_(in), space_(space), score_(in), left_(budget) {}

  bool is_over() const { return left_ == 0; }
  ValidationScore evaluate(const std::vector<double>& point) {
    const ValidationScore score = score_(space_.model(point));
    if (!best_ || score.better_than(best_->second)) {
      best_ = {point, score};
    }
    --left_;
    in_.tick();
    return score;
  }
  const std::vector<double>& best() const { return best_->first; }

 private:
  const FusionInput& in_;
  const Space& space_;
  ValidationScorer score_;
  int64_t left_;
  std::optional<std::pair<std::vector<double>, ValidationScore>> best_ = {};
};

void search_randomly(size_t dimensions, uint64_t key, Search& search) {
  for (uint64_t stream = 0; !search.is_over(); ++stream) {
    const at::Tensor drawn = uniform(key, stream, 0, static_cast<int64_t>(dimensions)).to(at::kDouble);
    const auto* begin = drawn.const_data_ptr<double>();
    search.evaluate({begin, begin + dimensions});
  }
}

void evolve(size_t dimensions, uint64_t key, Search& search) {
  constexpr double kDeviation = 0.3;  // a third of the box, as the tutorial advises
  CmaEs strategy(std::vector<double>(dimensions, 0.5), kDeviation, key);
  while (!search.is_over()) {
    std::vector<ValidationScore> scores;
    for (const std::vector<double>& point : strategy.ask()) {
      if (search.is_over()) {
        return;
      }
      scores.push_back(search.evaluate(point));
    }
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return scores[static_cast<size_t>(a)].better_than(scores[static_cast<size_t>(b)]);
    });
    strategy.tell(order);
  }
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Space space(in, options);
  Search search(in, space, options.budget);
  search.evaluate(std::vector<double>(space.dimensions(), 0.5));
  const uint64_t key = derive_key(in.seed(), "search/" + options.algorithm);
  if (options.algorithm == "random") {
    search_randomly(space.dimensions(), key, search);
  } else {
    evolve(space.dimensions(), key, search);
  }
  FusedModel fused = one_model(space.model(search.best()));
  fused.facts["chosen"] = space.text(search.best());
  fused.facts["evaluations"] = number_text(options.budget);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "search",
     .title = "Search",
     .paper = "Akiba et al., Nature Machine Intelligence 2025, arXiv:2403.13187",
     .formula = R"(theta_l = theta_0,l + c_l (m(x)_l - theta_0,l),   m(x): another method at parameters x
x, c: the point of a box with the highest mean accuracy over the experts' tasks on validation, of `budget` points
chosen by scores on validation: its validation score is biased upwards)",
     .family = Family::kAveraging,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained, Need::kValidationExamples},
     .demands = {Demand::kClasses},
     .random = true,
     .order_invariant = false,  // points are dealt to experts in order, and rounding decides between scores
     .told_apart = {"method"},
     .cost = Cost::kForwardPasses},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::search
