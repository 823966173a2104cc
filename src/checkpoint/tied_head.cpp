#include "checkpoint/tied_head.h"

#include <algorithm>
#include <set>

#include "core/text.h"

namespace fusegrid {
namespace {

bool is_tied(const nlohmann::json& config) {
  if (!config.is_object()) {
    return false;
  }
  const auto stated = config.find("tie_word_embeddings");
  if (stated != config.end() && stated->is_boolean()) {
    return stated->get<bool>();
  }
  const auto classes = config.find("architectures");
  return classes != config.end() && classes->is_array() &&
         std::any_of(classes->begin(), classes->end(), [](const nlohmann::json& name) {
           return name.is_string() && (name.get<std::string>().ends_with("ForCausalLM") ||
                                       name.get<std::string>().ends_with("LMHeadModel"));
         });
}

}  // namespace

bool is_token_embedding(const std::string& tensor) {
  static const std::set<std::string> kModules{"embed_tokens", "wte",      "word_embeddings", "tok_embeddings",
                                              "shared",       "embed_in", "embeddings",      "tokens_embed"};
  const auto parts = split(tensor, '.');
  return parts.size() >= 2 && parts.back() == "weight" && kModules.contains(parts[parts.size() - 2]);
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
