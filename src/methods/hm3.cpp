// HM3: classifiers of different label sets become one, whose head has a group of rows for each set.
//
// Source:  Hackmann, "HM3: Heterogeneous Multi-Class Model Merging", 2024, arXiv:2409.19173. No code is public; the
//          heads are expanded as its text says.
// Differs: the settings of the merge are chosen on validation over the job's grid, not by 500 trials. Merging an expert
//          with its base (self-merging) is this method called with one expert.
// Grain:   whole model: heads are tensors beside those of the models, and the other method merges both in one pass.
// Cost:    that of the other method.

#include <algorithm>

#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/demands.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::hm3 {
namespace {

// Of the expanded head among the tensors of a model, [all labels, features] and [all labels].
constexpr const char* kWeight = "expanded_head.weight";
constexpr const char* kBias = "expanded_head.bias";

const Method& method_called(const std::string& name) {
  return method_registry().at(name);
}

bool has_parameter(const std::string& method, const std::string& name) {
  const auto params = method_called(method).params();
  return std::any_of(params.begin(), params.end(), [&](const ParamInfo& each) { return each.name == name; });
}

// Those that make one model of experts and base alone, tensor by tensor.
Choices tensor_methods() {
  Choices names;
  for (const std::string& name : method_registry().names()) {
    const MethodCard& card = method_called(name).card;
    const bool alone = std::all_of(card.needs.begin(), card.needs.end(),
                                   [](Need need) { return need == Need::kPretrained; });
    if (alone && card.demands.empty() && card.grain != Grain::kWholeModel && card.min_experts == 1 &&
        card.yields == Yields::kOneModel && card.family != Family::kReference) {
      names.push_back(name);
    }
  }
  return names;
}

struct Options {
  std::string method = "dare_ties";
  std::vector<double> scale;
  std::vector<double> density;
  std::vector<double> drop_rate;
  std::string merge = "default";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("method", method, tensor_methods(), "that merges the models with their expanded heads");
    v.param("scale", scale, Range{-2, 3}, "its parameter scale; empty: its default");
    v.param("density", density, Range{0.001, 1}, "its parameter density; empty: its default");
    v.param("drop_rate", drop_rate, Range{0, 0.9999}, "its parameter drop_rate; empty: its default");
    v.param("merge", merge, Choices{"default", "sum", "mean", "max"}, "its parameter merge");
  }

  ParamText of_method() const {
    ParamText given;
    for (const auto& [name, numbers] :
         {std::pair("scale", scale), {"density", density}, {"drop_rate", drop_rate}}) {
      std::vector<std::string> texts;
      for (const double number : numbers) {
        texts.push_back(number_text(number));
      }
      if (!texts.empty()) {
        given.emplace(name, join(texts, ":"));
      }
    }
    if (merge != "default") {
      given.emplace("merge", merge);
    }
    return given;
  }

  void check(int64_t experts) const {
    const ParamText given = of_method();
    for (const auto& [name, value] : given) {
      if (!has_parameter(method, name)) {
        throw ConfigError("method 'hm3' is given '" + name + "', but method '" + method +
                          "' has no such parameter; leave it out");
      }
    }
    method_called(method).check(given, method_called(method).card, experts);
  }
};

// The labels of all tasks, a group each, in the order of the tasks' names.
class Heads {
 public:
  explicit Heads(const FusionInput& in) : in_(in) {
    for (size_t i = 0; i < in.num_experts(); ++i) {
      of_experts_.push_back(in.tasks_of(i));
    }
    tasks_ = in.tasks();
    std::sort(tasks_.begin(), tasks_.end());
    for (const std::string& task : tasks_) {
      check_affine_head("hm3", task, in.network().readout(task));
      pooling_ = in.network().readout(task).pooling();
    }
  }

  // An expert's model, with its own rows and zeros for those of the others; of no expert, the base's.
  Weights with_head(Weights model, const std::vector<std::string>& own) const {
    std::vector<at::Tensor> weights, biases;
    for (const std::string& task : tasks_) {
      const Weights head = in_.network().readout(task).weights();
      const bool is_own = std::find(own.begin(), own.end(), task) != own.end();
      weights.push_back(is_own ? head.at("weight") : at::zeros_like(head.at("weight")));
      biases.push_back(is_own ? head.at("bias") : at::zeros_like(head.at("bias")));
    }
    model[kWeight] = concatenate(weights);
    model[kBias] = concatenate(biases);
    return model;
  }
  Weights base() const { return with_head(in_.base(), {}); }
  std::vector<Weights> experts() const {
    std::vector<Weights> all;
    for (size_t i = 0; i < in_.num_experts(); ++i) {
      all.push_back(with_head(in_.expert(i), of_experts_[i]));
    }
    return all;
  }

  // The group of each task, so that softmax is over its labels alone.
  std::map<std::string, std::shared_ptr<const Readout>> groups(const Weights& merged) const {
    std::map<std::string, std::shared_ptr<const Readout>> readouts;
    int64_t begin = 0;
    for (const std::string& task : tasks_) {
      const int64_t labels = in_.network().readout(task).outputs();
      readouts[task] = affine_readout(merged.at(kWeight).narrow(0, begin, labels),
                                      merged.at(kBias).narrow(0, begin, labels), pooling_);
      begin += labels;
    }
    return readouts;
  }

 private:
  const FusionInput& in_;
  std::vector<std::vector<std::string>> of_experts_;
  std::vector<std::string> tasks_;
  Pooling pooling_ = Pooling::kFirst;
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  constexpr int64_t kCacheBytes = int64_t{1} << 28;
  const Heads heads(in);
  const Weights base = heads.base();
  const std::vector<Weights> experts = heads.experts();
  std::vector<const Weights*> models;
  for (const Weights& expert : experts) {
    models.push_back(&expert);
  }
  StatisticsCache cache(kCacheBytes, "", in.device());
  MemoryEngine engine(base, models, "expanded", cache, [&in] { in.tick(); });
  const Method& method = method_called(options.method);
  const FusionContext context = streamed_context(method, engine, cache, in.expert_names(), in.seed());
  Weights merged = method.fuse(FusionInput(context), options.of_method()).predictor->weights();
  const auto readouts = heads.groups(merged);
  const int64_t labels = merged.at(kBias).size(0);
  merged.erase(kWeight);
  merged.erase(kBias);
  FusedModel fused = one_model(std::move(merged));
  fused.readouts = readouts;
  fused.facts["labels"] = number_text(labels);
  return fused;
}

const RegisterMethod<Options> registered{
    {.name = "hm3",
     .title = "HM3",
     .paper = "Hackmann, 2024, arXiv:2409.19173",
     .formula = R"(H_i   = the head of all labels: the rows of expert i are its own, the others 0;   H_0 = 0
theta, H = m((theta_0, H_0), (theta_1, H_1), ...)     m: another method, over models and heads together
p(x)  = softmax of the group of the task's labels alone)",
     .family = Family::kTaskVector,
     .grain = Grain::kWholeModel,
     .needs = {Need::kPretrained},
     .demands = {Demand::kClasses, Demand::kHeads, Demand::kAffineHeads},
     .random = true,  // where m is
     .told_apart = {"method"}},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::hm3
