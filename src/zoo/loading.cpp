// Reads the models that a zoo describes.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "checkpoint/checks.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/parallel.h"
#include "core/text.h"
#include "models/architecture.h"
#include "models/stored_parameters.h"
#include "models/unknown_family.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/zoo.h"

namespace fusegrid {

namespace fs = std::filesystem;

namespace {

// Calls use(name, values, aside(values)) for each parameter, in name order. Parameters are read, checked and given to
// `aside`, while they are in the cache, as many side by side as there are threads.
template <typename Aside, typename Use>
void for_parameters(const StoredParameters& stored, int threads, const Aside& aside, const Use& use) {
  struct Read {
    at::Tensor values;
    std::invoke_result_t<Aside, const at::Tensor&> made;
  };
  const std::vector<TensorInfo>& tensors = stored.tensors();
  const auto most = static_cast<size_t>(std::max(threads, 1));
  for (size_t begin = 0; begin < tensors.size(); begin += most) {
    std::vector<Read> read(std::min(most, tensors.size() - begin));
    in_parallel(threads, read.size(), [&](size_t i) {
      const std::string& name = tensors[begin + i].name;
      read[i].values = stored.read(name).to(at::kFloat);
      check_finite({{name, read[i].values}}, stored.name());
      read[i].made = aside(read[i].values);
    });
    for (size_t i = 0; i < read.size(); ++i) {
      use(tensors[begin + i].name, read[i].values, read[i].made);
    }
  }
  stored.check_unchanged();
}

std::vector<double> three_numbers(const nlohmann::json& config, const std::string& field) {
  if (!config.contains(field) || !config[field].is_array() || config[field].size() != 3 ||
      !config[field][0].is_number() || !config[field][1].is_number() || !config[field][2].is_number()) {
    throw ConfigError("preprocessor_config.json: " + field + " must be three numbers, but it is " +
                      (config.contains(field) ? config[field].dump() : "missing"));
  }
  return config[field].get<std::vector<double>>();
}

ImageNormalisation read_normalisation(const HfFolder& folder) {
  const auto& config = folder.preprocessor_config();
  if (!config) {
    throw ConfigError("'" + folder.path().string() +
                      "' has no preprocessor_config.json; it must say image_mean and image_std");
  }
  constexpr double kRescale = 1.0 / 255;
  const nlohmann::json factor = config->value("rescale_factor", nlohmann::json(kRescale));
  if (!factor.is_number() || std::abs(factor.get<double>() - kRescale) > 1e-9) {
    throw ConfigError("preprocessor_config.json: rescale_factor must be 1/255, but it is " + factor.dump());
  }
  ImageNormalisation normalisation{three_numbers(*config, "image_mean"), three_numbers(*config, "image_std")};
  for (const double deviation : normalisation.std) {
    if (!(deviation > 0)) {
      throw ConfigError("preprocessor_config.json: image_std must be positive, but has " +
                        number_text(deviation));
    }
  }
  return normalisation;
}

void check_digest(const Replicate& replicate, const std::string& model, const std::string& seen) {
  const auto recorded = replicate.digests.find(model);
  if (recorded != replicate.digests.end() && seen != recorded->second) {
    throw DataError("model '" + model + "' of seed " + std::to_string(replicate.seed) +
                    " is not the one that zoo.json recorded (SHA-256 " + recorded->second + ", now " + seen +
                    "); build the zoo again, or import it anew if the change is wanted");
  }
}

Weights read_weights(const Architecture& architecture, const ModelSource& model, at::Device device) {
  Weights weights;
  for_parameters(
      StoredParameters(architecture, model), reading_threads(),
      [&](const at::Tensor& values) { return values.to(device); },
      [&](const std::string& name, const at::Tensor&, const at::Tensor& there) {
        weights.emplace(name, there);
      });
  return weights;
}

FactorsByName factors_of(const StoredParameters& stored, at::Device device) {
  FactorsByName all;
  for (const TensorInfo& info : stored.tensors()) {
    if (const auto factors = stored.factors(info.name)) {
      all.emplace(info.name, LowRankFactors{factors->b.to(device), factors->a.to(device), factors->scale});
    }
  }
  return all;
}

std::string key_of(const std::string& digest_of_parameters, const FactorsByName& factors) {
  return digest_of_parameters + (factors.empty() ? "" : "/" + digest(factors));
}

LoadedModel load_model(const Architecture& architecture, const Zoo& zoo, const Replicate& replicate,
                       const std::string& model, at::Device device, int threads) {
  const ModelFolder folder(replicate.layout(), model_folder(zoo, replicate, model));
  const StoredParameters stored(architecture, folder.model());
  LoadedModel loaded;
  loaded.factors = factors_of(stored, device);
  Sha256 hash;
  for_parameters(stored, threads, digest_of_values,
                 [&](const std::string& name, const at::Tensor& values, const Sha256Bytes& of_values) {
                   add_to_digest(hash, name, values, of_values);
                   loaded.weights.emplace(name, values.to(device));
                 });
  loaded.digest = hash.hex();
  check_digest(replicate, model, loaded.digest);
  loaded.key = key_of(loaded.digest, loaded.factors);
  return loaded;
}

}  // namespace

Weights load_weights(const Architecture& architecture, const fs::path& folder, at::Device device) {
  return read_weights(architecture, open_checkpoint(folder), device);
}

Weights load_weights(const Architecture& architecture, const fs::path& base, const fs::path& folder,
                     at::Device device) {
  return read_weights(architecture, ModelFolder(base, folder).model(), device);
}

std::string model_digest(const Architecture& architecture, const Replicate& replicate, const fs::path& path) {
  const ModelFolder folder(replicate.layout(), path);
  Sha256 hash;
  for_parameters(StoredParameters(architecture, folder.model()), reading_threads(), digest_of_values,
                 [&](const std::string& name, const at::Tensor& values, const Sha256Bytes& of_values) {
                   add_to_digest(hash, name, values, of_values);
                 });
  return hash.hex();
}

std::string model_key(const Architecture& architecture, const Zoo& zoo, const Replicate& replicate,
                      const std::string& model) {
  const fs::path path = model_folder(zoo, replicate, model);
  const auto recorded = replicate.digests.find(model);
  std::string digest =
      recorded != replicate.digests.end() ? recorded->second : model_digest(architecture, replicate, path);
  if (!is_adapter(path)) {
    return digest;  // of a recorded checkpoint, without opening it
  }
  const ModelFolder folder(replicate.layout(), path);
  return key_of(digest, factors_of(StoredParameters(architecture, folder.model()), at::kCPU));
}

void check_model(const Architecture& architecture, const Replicate& replicate, const std::string& model,
                 const fs::path& path) {
  check_digest(replicate, model, model_digest(architecture, replicate, path));
}

Network load_network_without_readouts(const fs::path& base, at::Device device) {
  const HfFolder folder = open_checkpoint(base);
  Network network;
  network.architecture = is_of_unknown_family(folder.config()) ? unknown_architecture(folder)
                                                               : make_architecture(folder.config());
  if (network.architecture->input().image_size > 0) {
    network.normalisation = read_normalisation(folder);
  }
  network.device = device;
  return network;
}

Network load_network(const Zoo& zoo, const Replicate& replicate, at::Device device) {
  Network network = load_network_without_readouts(replicate.layout(), device);
  if (!zoo.tasks.empty()) {
    architecture_settings(
        open_checkpoint(replicate.layout()).config());  // tasks ask for passes of a known family
  }
  network.readouts = load_readouts(replicate.layout(), replicate.heads, zoo.tasks, zoo.pooling, device);
  return network;
}

std::vector<std::string> models_of(const Replicate& replicate) {
  std::vector<std::string> models;
  if (!replicate.base.empty()) {
    models.emplace_back("base");
  }
  for (const auto& [name, folder] : replicate.experts) {
    models.push_back("expert/" + name);
  }
  if (replicate.multitask) {
    models.emplace_back("multitask");
  }
  return models;
}

fs::path model_folder(const Zoo& zoo, const Replicate& replicate, const std::string& model) {
  const std::string of_seed = "' of seed " + std::to_string(replicate.seed);
  if (model == "base") {
    if (replicate.base.empty()) {
      throw ConfigError("the experts of zoo '" + zoo.name + "' have no base in common");
    }
    return replicate.base;
  }
  if (model == "multitask") {
    if (!replicate.multitask) {
      throw ConfigError("zoo '" + zoo.name + "' has no model 'multitask" + of_seed +
                        "; build it with fusegrid zoo build");
    }
    return *replicate.multitask;
  }
  const auto slash = model.find('/');
  const auto folder = replicate.experts.find(model.substr(slash + 1));
  if (model.substr(0, slash) != "expert" || folder == replicate.experts.end()) {
    throw ConfigError("zoo '" + zoo.name + "' has no model '" + model + of_seed + ". Its experts are " +
                      join(zoo.expert_names(), ", "));
  }
  return folder->second;
}

std::vector<LoadedModel> load_models(const Architecture& architecture, const Zoo& zoo,
                                     const Replicate& replicate, const std::vector<std::string>& models,
                                     at::Device device) {
  std::vector<LoadedModel> loaded(models.size());
  const int threads = reading_threads();
  const int of_model = threads / std::max(static_cast<int>(models.size()), 1);
  in_parallel(threads, models.size(), [&](size_t i) {
    loaded[i] = load_model(architecture, zoo, replicate, models[i], device, of_model);
  });
  return loaded;
}

LoadedReplicate load_replicate(const Zoo& zoo, const Replicate& replicate,
                               const std::vector<std::string>& experts, bool with_multitask,
                               at::Device device) {
  LoadedReplicate loaded;
  loaded.network = load_network(zoo, replicate, device);
  std::vector<std::string> models;
  if (!replicate.base.empty()) {
    models.emplace_back("base");
  }
  for (const std::string& name : experts) {
    models.push_back("expert/" + name);
  }
  if (with_multitask) {
    models.emplace_back("multitask");
  }
  auto read = load_models(*loaded.network.architecture, zoo, replicate, models, device);
  auto next = read.begin();
  if (!replicate.base.empty()) {
    loaded.base = std::move((next++)->weights);
  }
  for (const std::string& name : experts) {
    loaded.experts.emplace(name, std::move((next++)->weights));
  }
  if (with_multitask) {
    loaded.multitask = std::move(read.back().weights);
  }
  return loaded;
}

}  // namespace fusegrid
