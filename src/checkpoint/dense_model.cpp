#include "checkpoint/dense_model.h"

#include <set>

#include "checkpoint/checks.h"
#include "core/block_name.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// What a dense model and a Mixtral of it have in common: all but the MLPs.
std::set<std::string> common_tensors(int64_t layers) {
  std::set<std::string> names{"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (const char* rest : {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj",
                             "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}) {
      names.insert(layer_prefix(layer) + rest + ".weight");
    }
  }
  return names;
}

bool has(const nlohmann::json& config, const std::string& key) {
  return config.contains(key) && !config[key].is_null();
}

// The values that Llama and Mistral have where config.json is silent, of the fields that Mixtral has other defaults
// for.
void add_defaults(nlohmann::json& config) {
  const bool mistral = config["model_type"] == "mistral";
  const auto add = [&](const std::string& key, const nlohmann::json& value) {
    if (!has(config, key)) {
      config[key] = value;
    }
  };
  add("rms_norm_eps", 1e-6);
  add("max_position_embeddings", mistral ? 131'072 : 2048);
  if (!mistral) {
    add("num_key_value_heads", config.at("num_attention_heads"));
    config["sliding_window"] = nullptr;
  } else if (!config.contains("sliding_window")) {  // null means none
    config["sliding_window"] = 4096;
  }
  // transformers 5 has it in rope_parameters
  if (!has(config, "rope_parameters") || !has(config["rope_parameters"], "rope_theta")) {
    add("rope_theta", 10'000.0);
  }
}

}  // namespace

std::string layer_prefix(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

std::string mlp_name(int64_t layer, const MlpMatrix& matrix) {
  return layer_prefix(layer) + "mlp." + matrix.dense + ".weight";
}

bool is_mlp(const std::string& tensor) {
  const BlockName name = block_name(tensor);
  return name.stack == "model.layers." && name.rest.starts_with("mlp.");
}

DenseModel::DenseModel(const ModelSpec& spec, HfFolderOptions options)
    : model_(spec.open(nullptr, options)), config_(spec.config(options)) {
  check_kind();
  layers_ = number("num_hidden_layers");
  hidden_ = number("hidden_size");
  intermediate_ = number("intermediate_size");
  for (const TensorInfo& info : model_->tensors()) {
    tensors_.emplace(info.name, &info);
  }
  check_mlps();
}

double DenseModel::initializer_range() const {
  if (!has(config_, "initializer_range")) {
    return 0.02;
  }
  if (!config_["initializer_range"].is_number()) {
    throw ConfigError(where() + " must have 'initializer_range' as a number, but it has " +
                      config_["initializer_range"].dump());
  }
  return config_["initializer_range"].get<double>();
}

void DenseModel::check_is_base() const {
  number("num_attention_heads");
  std::set<std::string> missing = common_tensors(layers_);
  for (const auto& [name, info] : tensors_) {
    // old checkpoints of Llama store the frequencies, which all versions compute
    const bool is_known = missing.erase(name) > 0 || is_mlp(name) || name.ends_with("rotary_emb.inv_freq");
    if (!is_known) {
      throw ConfigError(
          "the base of a mixture must have the tensors of a Llama or Mistral with a language "
          "model's head and without biases, but '" +
          model_->name() + "' has also '" + name + "', for which Mixtral has no place");
    }
  }
  if (has(config_, "tie_word_embeddings") && config_["tie_word_embeddings"] == true) {
    missing.erase("lm_head.weight");
  }
  if (!missing.empty()) {
    throw ConfigError("the base of a mixture must have all tensors of its configuration, but '" +
                      model_->name() + "' lacks '" + *missing.begin() + "'");
  }
}

void DenseModel::check_fits(const DenseModel& base) const {
  const auto check = [&](const char* what, int64_t ours, int64_t theirs) {
    if (ours != theirs) {
      throw ConfigError("the experts of a mixture must have as many " + std::string(what) +
                        " as its base, but '" + model_->name() + "' has " + std::to_string(ours) + " and '" +
                        base.model_->name() + "' " + std::to_string(theirs) +
                        "; take fine-tunes of one base");
    }
  };
  check("layers", layers_, base.layers_);
  check("hidden units (hidden_size)", hidden_, base.hidden_);
  check("units in the MLPs (intermediate_size)", intermediate_, base.intermediate_);
}

int64_t DenseModel::number(const std::string& key) const {
  if (!has(config_, key) || !config_[key].is_number_integer() || config_[key].get<int64_t>() < 1) {
    throw ConfigError(where() + " must have '" + key + "' as a number above 0, but it has " +
                      (config_.contains(key) ? config_[key].dump() : "none"));
  }
  return config_[key].get<int64_t>();
}

// Llama's and Mistral's code is Mixtral's but for the MLPs, and for what these fields change.
void DenseModel::check_kind() const {
  const std::string type = has(config_, "model_type") && config_["model_type"].is_string()
                               ? config_["model_type"].get<std::string>()
                               : "";
  if (type != "llama" && type != "mistral") {
    throw ConfigError(
        "a mixture can be made of Llama and Mistral models (model_type llama or mistral), but '" +
        model_->name() + "' is " + (type.empty() ? "of no model_type" : "'" + type + "'") +
        (has(config_, "num_local_experts") ? ", and a mixture already" : ""));
  }
  const std::map<std::string, nlohmann::json> expressible{{"attention_bias", false},
                                                          {"mlp_bias", false},
                                                          {"hidden_act", "silu"},
                                                          {"layer_types", nullptr},
                                                          {"auto_map", nullptr}};
  for (const auto& [key, value] : expressible) {
    if (has(config_, key) && config_[key] != value) {
      throw ConfigError(where() + " has " + key + " = " + config_[key].dump() +
                        ", which a Mixtral cannot express: it must be " +
                        (value.is_null() ? "absent" : value.dump() + " or absent"));
    }
  }
}

void DenseModel::check_mlps() const {
  std::set<std::string> others;
  for (const auto& [name, info] : tensors_) {
    if (is_mlp(name)) {
      others.insert(name);
    }
  }
  for (int64_t layer = 0; layer < layers_; ++layer) {
    for (const MlpMatrix& matrix : kMlpMatrices) {
      const std::string name = mlp_name(layer, matrix);
      const auto it = tensors_.find(name);
      if (it == tensors_.end()) {
        throw ConfigError(
            "the models of a mixture must have gate_proj, up_proj and down_proj in the MLP of every "
            "layer, but '" +
            model_->name() + "' lacks '" + name + "'");
      }
      const auto shape = matrix.down ? std::vector<int64_t>{hidden_, intermediate_}
                                     : std::vector<int64_t>{intermediate_, hidden_};
      if (it->second->shape != shape || !it->second->floating()) {
        throw ConfigError("tensor '" + name + "' must be floating " + shape_text(shape) + " by " + where() +
                          ", but it is " + at::toString(it->second->dtype) + " " +
                          shape_text(it->second->shape));
      }
      others.erase(name);
    }
  }
  if (!others.empty()) {
    throw ConfigError("the MLPs of a mixture must have three matrices without biases in each of the " +
                      std::to_string(layers_) + " layers of config.json, but '" + model_->name() +
                      "' has also '" + *others.begin() + "'");
  }
}

nlohmann::json DenseModel::mixtral_config(int64_t experts, int64_t experts_per_token) const {
  nlohmann::json config = config_;
  add_defaults(config);
  for (const char* key : {"attention_bias", "mlp_bias", "pretraining_tp"}) {  // Mixtral has none of these
    config.erase(key);
  }
  config["architectures"] = {"MixtralForCausalLM"};
  config["model_type"] = "mixtral";
  config["num_local_experts"] = experts;
  config["num_experts_per_tok"] = experts_per_token;
  config["output_router_logits"] = false;
  config["router_aux_loss_coef"] = 0.001;
  config["router_jitter_noise"] = 0.0;
  return config;
}

}  // namespace fusegrid
