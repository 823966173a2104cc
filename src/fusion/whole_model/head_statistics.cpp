#include "fusion/whole_model/head_statistics.h"

#include <ATen/core/grad_mode.h>

#include "core/errors.h"

namespace fusegrid {

std::map<std::string, std::shared_ptr<const Readout>> re_estimated_heads(
    const Network& network, const Predictor& predictor,
    const std::map<std::string, std::vector<Inputs>>& ready_batches) {
  const at::NoGradGuard no_grad;
  std::map<std::string, std::shared_ptr<const Readout>> heads;
  for (const auto& [task, batches] : ready_batches) {
    const Weights* model = predictor.model_of(task);
    if (model == nullptr) {
      throw ConfigError(
          "statistics of heads are made anew on the features of one model, but several answer task '" + task +
          "' together; take statistics=re_estimated");
    }
    std::vector<at::Tensor> features;
    for (const Inputs& inputs : batches) {
      features.push_back(network.features(*model, inputs));
    }
    if (auto head = network.readout(task).re_estimated(features)) {
      heads.emplace(task, std::move(head));
    }
  }
  return heads;
}

}  // namespace fusegrid
