#include "checkpoint/tied_head.h"

#include <algorithm>
#include <set>

#include "core/text.h"

namespace fusegrid {
namespace {

constexpr auto kKey = "tie_word_embeddings";

// Whether it has the key, here or in a part.
bool set_where_stated(nlohmann::json& config) {
  if (!config.is_object()) {
    return false;
  }
  bool stated = config.contains(kKey);
  if (stated) {
    config[kKey] = false;
  }
  for (auto& [name, part] : config.items()) {
    stated |= name.ends_with("_config") && set_where_stated(part);
  }
  return stated;
}

}  // namespace

std::optional<bool> stated_tie(const nlohmann::json& config) {
  if (!config.is_object()) {
    return std::nullopt;
  }
  if (const auto stated = config.find(kKey); stated != config.end() && stated->is_boolean()) {
    return stated->get<bool>();
  }
  for (const auto& [name, part] : config.items()) {
    if (const auto stated = name.ends_with("_config") ? stated_tie(part) : std::nullopt) {
      return stated;
    }
  }
  return std::nullopt;
}

void set_untied(nlohmann::json& config) {
  if (!set_where_stated(config)) {
    config[kKey] = false;
  }
}

bool is_tied(const nlohmann::json& config) {
  if (const auto stated = stated_tie(config); stated || !config.is_object()) {
    return stated.value_or(false);
  }
  const auto classes = config.find("architectures");
  return classes != config.end() && classes->is_array() &&
         std::any_of(classes->begin(), classes->end(), [](const nlohmann::json& name) {
           return name.is_string() && (name.get<std::string>().ends_with("ForCausalLM") ||
                                       name.get<std::string>().ends_with("LMHeadModel"));
         });
}

bool is_token_embedding(const std::string& tensor) {
  static const std::set<std::string> modules{"embed_tokens", "wte",      "word_embeddings", "tok_embeddings",
                                             "shared",       "embed_in", "embeddings",      "tokens_embed"};
  const auto parts = split(tensor, '.');
  return parts.size() >= 2 && parts.back() == "weight" && modules.contains(parts[parts.size() - 2]);
}

bool is_tied_head(const std::string& tensor) {
  return tensor == kTiedHead || tensor.ends_with("." + std::string(kTiedHead));
}

std::optional<std::string> tied_embedding(const ModelSource& model) {
  std::optional<std::string> embedding;
  for (const TensorInfo& info : model.tensors()) {
    const bool another = embedding && is_token_embedding(info.name);
    if (is_tied_head(info.name) || another) {
      return std::nullopt;
    }
    if (is_token_embedding(info.name)) {
      embedding = info.name;
    }
  }
  return embedding && is_tied(model.config()) ? embedding : std::nullopt;
}

}  // namespace fusegrid
