#include "fusion/fused_model.h"

#include <utility>

#include <ATen/ops/log.h>
#include <ATen/ops/softmax.h>

#include "core/errors.h"
#include "fusion/slice.h"

namespace fusegrid {
namespace {

class OneModel final : public Predictor {
 public:
  explicit OneModel(Weights weights) : weights_(std::move(weights)) {}
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    return network.output(weights_, inputs, ask.head, {.memory = ask.memory});
  }
  Weights weights() const override { return weights_; }
  const Weights* model_of(const std::string& /*task*/) const override { return &weights_; }
  std::shared_ptr<const Predictor> mapped(
      const std::function<Weights(const Weights&)>& change) const override {
    return std::make_shared<OneModel>(change(weights_));
  }

 private:
  Weights weights_;
};

Weights prefixed(const std::string& prefix, const Weights& weights) {
  Weights named;
  for (const auto& [name, tensor] : weights) {
    named.emplace(prefix + "/" + name, tensor);
  }
  return named;
}

class ModelPerTask final : public Predictor {
 public:
  ModelPerTask(std::map<std::string, Weights> by_expert, std::map<std::string, std::string> owners)
      : models_(std::move(by_expert)), owners_(std::move(owners)) {}
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    if (!ask.task) {
      throw AccessError(
          "a model per task needs the task's identity: set needs_task_identity in the method's card");
    }
    const Weights* model = model_of(*ask.task);
    if (model == nullptr) {
      throw ConfigError("there is no model for task '" + *ask.task + "' among the fused experts");
    }
    return network.output(*model, inputs, ask.head, {.memory = ask.memory});
  }
  const Weights* model_of(const std::string& task) const override {
    const auto owner = owners_.find(task);
    const auto model = owner == owners_.end() ? models_.end() : models_.find(owner->second);
    return model == models_.end() ? nullptr : &model->second;
  }
  std::shared_ptr<const Predictor> mapped(
      const std::function<Weights(const Weights&)>& change) const override {
    std::map<std::string, Weights> changed;
    for (const auto& [expert, model] : models_) {
      changed.emplace(expert, change(model));
    }
    return std::make_shared<ModelPerTask>(std::move(changed), owners_);
  }
  Weights weights() const override {
    Weights all;
    for (const auto& [expert, model] : models_) {
      all.merge(prefixed(expert, model));
    }
    return all;
  }

 private:
  std::map<std::string, Weights> models_;      // by expert
  std::map<std::string, std::string> owners_;  // task -> expert
};

class Ensemble final : public Predictor {
 public:
  Ensemble(std::vector<Weights> members, EnsembleLevel level, Combine combine)
      : members_(std::move(members)), level_(level), combine_(std::move(combine)) {}
  at::Tensor output(const Network& network, const Inputs& inputs, const Ask& ask) const override {
    std::vector<at::Tensor> answers;
    for (size_t i = 0; i < members_.size(); ++i) {
      const Weights& member = members_[i];
      at::Tensor answer = network.features(
          member, inputs, {.memory = ask.memory == nullptr ? nullptr : &ask.memory->part(i)});
      if (level_ != EnsembleLevel::kFeatures) {
        answer = network.read(member, answer, ask.head);
      }
      answers.push_back(level_ == EnsembleLevel::kProbabilities ? at::softmax(answer, -1) : answer);
    }
    const at::Tensor combined = combine_(answers, ask.head);
    switch (level_) {
      case EnsembleLevel::kFeatures:
        return network.read({}, combined, ask.head);
      case EnsembleLevel::kLogits:
        return combined;
      case EnsembleLevel::kProbabilities:
        return at::log(combined);
    }
    FUSEGRID_ASSERT(false, "unknown level");
  }
  std::shared_ptr<const Predictor> mapped(
      const std::function<Weights(const Weights&)>& change) const override {
    std::vector<Weights> changed;
    for (const Weights& member : members_) {
      changed.push_back(change(member));
    }
    return std::make_shared<Ensemble>(std::move(changed), level_, combine_);
  }
  Weights weights() const override {
    Weights all;
    for (size_t i = 0; i < members_.size(); ++i) {
      all.merge(prefixed("member" + std::to_string(i), members_[i]));
    }
    return all;
  }

 private:
  std::vector<Weights> members_;
  EnsembleLevel level_;
  Combine combine_;
};

}  // namespace

int64_t num_parameters(const Weights& weights) {
  int64_t count = 0;
  for (const auto& [name, tensor] : weights) {
    count += tensor.numel();
  }
  return count;
}

FusedModel one_model(Weights weights) {
  const auto stored = static_cast<double>(num_parameters(weights));
  return {std::make_shared<OneModel>(std::move(weights)), stored, {}};
}

FusedModel model_per_task(std::map<std::string, Weights> by_expert, std::map<std::string, std::string> owners,
                          double stored_parameters) {
  return {std::make_shared<ModelPerTask>(std::move(by_expert), std::move(owners)), stored_parameters, {}};
}

FusedModel ensemble(std::vector<Weights> members, EnsembleLevel level, Combine combine) {
  double stored = 0;
  for (const Weights& member : members) {
    stored += static_cast<double>(num_parameters(member));
  }
  return {std::make_shared<Ensemble>(std::move(members), level, std::move(combine)), stored, {}};
}

EnsembleLevel parse_ensemble_level(const std::string& text) {
  if (text == "features") {
    return EnsembleLevel::kFeatures;
  }
  if (text == "logits") {
    return EnsembleLevel::kLogits;
  }
  FUSEGRID_ASSERT(text == "probabilities", "ensemble level " + text);
  return EnsembleLevel::kProbabilities;
}

}  // namespace fusegrid
