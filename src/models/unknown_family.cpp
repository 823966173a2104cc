#include "models/unknown_family.h"

#include <utility>
#include <vector>

#include "core/errors.h"

namespace fusegrid {
namespace {

class UnknownArchitecture final : public Architecture {
 public:
  UnknownArchitecture(std::string name, std::vector<TensorInfo> parameters)
      : name_(std::move(name)), parameters_(std::move(parameters)) {}

  std::string name() const override { return name_; }
  InputFormat input() const override { return {}; }
  int64_t feature_size() const override { return 1; }
  int64_t num_tokens() const override { return 1; }
  std::vector<TensorInfo> parameters() const override { return parameters_; }
  std::vector<Layer> layers() const override { return {}; }
  at::Tensor features(const Weights&, const Inputs&, Pooling, const Pass&) const override {
    throw ConfigError("models of the family '" + name_ +
                      "' are known by their tensors alone, so that nothing can be computed with them");
  }

 private:
  std::string name_;
  std::vector<TensorInfo> parameters_;
};

}  // namespace

bool is_of_unknown_family(const nlohmann::json& config) {
  return config.is_object() && config.contains("model_type") && config["model_type"].is_string() &&
         !architecture_registry().contains(config["model_type"].get<std::string>());
}

std::unique_ptr<Architecture> unknown_architecture(const ModelSource& model) {
  std::vector<TensorInfo> parameters;
  for (TensorInfo info : model.tensors()) {
    if (info.floating()) {
      info.dtype = at::kFloat;  // as parameters of any architecture are
      parameters.push_back(std::move(info));
    }
  }
  return std::make_unique<UnknownArchitecture>(model.config().at("model_type").get<std::string>(),
                                               std::move(parameters));
}

nlohmann::json settings_of(const nlohmann::json& config) {
  if (!is_of_unknown_family(config)) {
    return architecture_settings(config);
  }
  nlohmann::json settings = config;
  for (const char* field : {"_name_or_path", "dtype", "torch_dtype", "transformers_version"}) {
    settings.erase(field);
  }
  return settings;
}

}  // namespace fusegrid
