#include "checkpoint/lora_keys.h"

#include <array>
#include <optional>
#include <string_view>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr std::string_view kRoot = "base_model.model.";

// "a.b.lora_A.default.weight" with part ".lora_A" and ending ".weight" -> "a.b"
std::optional<std::string> before(const std::string& key, const std::string& part,
                                  const std::string& ending) {
  for (const auto& tail : {part + ending, part + ".default" + ending}) {
    if (key.ends_with(tail)) {
      return key.substr(0, key.size() - tail.size());
    }
  }
  return std::nullopt;
}

std::string without(std::string text, const std::string& part) {
  if (const auto at = text.rfind(part); at != std::string::npos) {
    text.replace(at, part.size(), ".");
  }
  return text;
}

}  // namespace

LoraKey parse_lora_key(const std::string& full, const std::string& file) {
  const auto fail = [&](const std::string& message) {
    throw ConfigError("'" + file + "': " + printable(full) + " " + message);
  };
  if (!full.starts_with(kRoot)) {
    fail("is no tensor of an adapter: their names begin with " + std::string(kRoot));
  }
  const std::string key = full.substr(kRoot.size());
  using Kind = LoraKey::Kind;
  struct Form {
    Kind kind;
    std::string part, ending;
  };
  static const std::array<Form, 4> forms = {{{Kind::kA, ".lora_A", ".weight"},
                                             {Kind::kB, ".lora_B", ".weight"},
                                             {Kind::kEmbeddingA, ".lora_embedding_A", ""},
                                             {Kind::kEmbeddingB, ".lora_embedding_B", ""}}};
  for (const auto& form : forms) {
    if (const auto module = before(key, form.part, form.ending)) {
      return {form.kind, *module};
    }
  }
  if (key.find("lora_magnitude_vector") != std::string::npos) {
    fail("belongs to DoRA, which is not read; merge the adapter into its base with PEFT's merge_and_unload");
  }
  if (key.find(".lora_") != std::string::npos || key.find("token_adapter") != std::string::npos) {
    fail(
        "is of a kind that is not read (lora_A, lora_B, lora_embedding_A, lora_embedding_B, with the adapter "
        "name default or none); merge the adapter into its base with PEFT's merge_and_unload");
  }
  if (key.find(".original_module.") != std::string::npos) {
    return {Kind::kUnused, ""};
  }
  return {Kind::kCopy,
          without(without(without(key, ".modules_to_save.default."), ".modules_to_save."), ".base_layer.")};
}

}  // namespace fusegrid
