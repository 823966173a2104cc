#include "zoo/bindings.h"

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "models/unknown_family.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {
namespace {

std::string config_digest(const Replicate& replicate, const Network& network) {
  const HfFolder folder = open_checkpoint(replicate.layout());
  std::string text = settings_of(folder.config()).dump() + "/" + to_string(network.pooling());
  for (const auto& values : {network.normalisation.mean, network.normalisation.std}) {
    for (const double value : values) {
      text += "/" + number_text(value);
    }
  }
  return sha256_hex(text);
}

}  // namespace

std::map<std::string, std::string> replicate_bindings(const Zoo& zoo, const Replicate& replicate) {
  const std::string place = zoo.name + "/" + number_text(replicate.seed) + "/";
  const Network network = load_network(zoo, replicate, at::kCPU);
  std::map<std::string, std::string> bindings{{place + "config", config_digest(replicate, network)}};
  for (const std::string& model : models_of(replicate)) {
    bindings[place + model] = model_key(*network.architecture, zoo, replicate, model);
  }
  for (const ZooExpert& expert : zoo.experts) {
    bindings[place + "classes/" + expert.name] =
        expert.classes.empty() ? "all" : sha256_hex(nlohmann::json(expert.classes).dump());
  }
  for (const auto& task : zoo.tasks) {
    bindings[place + "heads/" + task] = digest(network.readout(task).weights());
  }
  if (replicate.multitask_heads) {
    for (const auto& [task, readout] :
         load_readouts(replicate.layout(), *replicate.multitask_heads, zoo.tasks, zoo.pooling, at::kCPU)) {
      bindings[place + "multitask_heads/" + task] = digest(readout->weights());
    }
  }
  return bindings;
}

std::string pack_binding(const Zoo& zoo) {
  return zoo.name + "/pack";
}

void check_same_bindings(const std::map<std::string, std::string>& expected,
                         const std::map<std::string, std::string>& seen) {
  for (const auto& [key, value] : seen) {
    if (const auto wanted = expected.find(key); wanted != expected.end() && wanted->second != value) {
      throw DataError(
          "what a run is made from stays the same while it runs, but " + key + " is " + value +
          " now and was " + wanted->second +
          " when the run began; bring the old files back, or give the new ones a results folder of "
          "their own (--results DIR)");
    }
  }
}

}  // namespace fusegrid
