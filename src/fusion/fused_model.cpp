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
  at::Tensor logits(const Network& network, const at::Tensor& pixels, const std::string& head_task,
                    const std::optional<std::string>&) const override {
    return network.logits(network.architecture->features(weights_, pixels), head_task);
  }
  Weights weights() const override { return weights_; }

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
  explicit ModelPerTask(std::map<std::string, Weights> models) : models_(std::move(models)) {}
  at::Tensor logits(const Network& network, const at::Tensor& pixels, const std::string& head_task,
                    const std::optional<std::string>& task) const override {
    if (!task) {
      throw AccessError(
          "a model per task needs the task's identity: set needs_task_identity in the method's card");
    }
    const auto model = models_.find(*task);
    if (model == models_.end()) {
      throw ConfigError("there is no model for task '" + *task + "' among the fused experts");
    }
    return network.logits(network.architecture->features(model->second, pixels), head_task);
  }
  Weights weights() const override {
    Weights all;
    for (const auto& [task, model] : models_) {
      all.merge(prefixed(task, model));
    }
    return all;
  }

 private:
  std::map<std::string, Weights> models_;
};

class Ensemble final : public Predictor {
 public:
  Ensemble(std::vector<Weights> members, EnsembleLevel level, Combine combine)
      : members_(std::move(members)), level_(level), combine_(std::move(combine)) {}
  at::Tensor logits(const Network& network, const at::Tensor& pixels, const std::string& head_task,
                    const std::optional<std::string>&) const override {
    std::vector<at::Tensor> answers;
    for (const Weights& member : members_) {
      at::Tensor answer = network.architecture->features(member, pixels);
      if (level_ != EnsembleLevel::kFeatures) {
        answer = network.logits(answer, head_task);
      }
      answers.push_back(level_ == EnsembleLevel::kProbabilities ? at::softmax(answer, 1) : answer);
    }
    const at::Tensor combined = combine_(answers);
    switch (level_) {
      case EnsembleLevel::kFeatures:
        return network.logits(combined, head_task);
      case EnsembleLevel::kLogits:
        return combined;
      case EnsembleLevel::kProbabilities:
        return at::log(combined);
    }
    FUSEGRID_ASSERT(false, "unknown level");
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

FusedModel model_per_task(std::map<std::string, Weights> weights, double stored_parameters) {
  return {std::make_shared<ModelPerTask>(std::move(weights)), stored_parameters, {}};
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
