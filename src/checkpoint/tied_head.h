// Models whose head is their embedding: one tensor serves both ends.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"

namespace fusegrid {

inline constexpr auto kTiedHead = "lm_head.weight";
// By their names.
bool is_tied_head(const std::string& tensor);
bool is_token_embedding(const std::string& tensor);

// What a configuration states, of the model or of a part of it (text_config, ...); nothing where it is silent.
std::optional<bool> stated_tie(const nlohmann::json& config);
// Whether a model that stores no head has its embedding there: as stated, or because it is a language model.
bool is_tied(const nlohmann::json& config);
// States that head and embedding are two.
void set_untied(nlohmann::json& config);

// The tensor that is embedding and head of `model`; nothing where the model has a head of its own, no head, or several
// embeddings that it could be. Where config.json does not say whether the two are tied, a language model without a head
// ties them.
std::optional<std::string> tied_embedding(const ModelSource& model);

}  // namespace fusegrid
