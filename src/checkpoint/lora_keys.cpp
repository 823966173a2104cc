#include "checkpoint/lora_keys.h"

#include <array>
#include <string_view>

#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

std::string without(std::string text, const std::string& part) {
  if (const auto at = text.rfind(part); at != std::string::npos) {
    text.replace(at, part.size(), ".");
  }
  return text;
}

}  // namespace

std::string without_adapter_root(const std::string& name, const std::string& file) {
  if (!name.starts_with(kAdapterRoot)) {
    throw ConfigError("'" + file + "': " + printable(name) +
                      " is no tensor of an adapter: their names begin with " + kAdapterRoot);
  }
  return name.substr(std::string_view(kAdapterRoot).size());
}

std::optional<std::string> module_before(const std::string& key, const std::string& part,
                                         const std::string& ending) {
  for (const auto& tail : {part + ending, part + ".default" + ending}) {
    if (key.ends_with(tail)) {
      return key.substr(0, key.size() - tail.size());
    }
  }
  return std::nullopt;
}

std::string copied_tensor(const std::string& key) {
  return without(without(without(key, ".modules_to_save.default."), ".modules_to_save."), ".base_layer.");
}

LoraKey parse_lora_key(const std::string& full, const std::string& file) {
  const auto fail = [&](const std::string& message) {
    throw ConfigError("'" + file + "': " + printable(full) + " " + message);
  };
  const std::string key = without_adapter_root(full, file);
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
    if (const auto module = module_before(key, form.part, form.ending)) {
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
  return {Kind::kCopy, copied_tensor(key)};
}

}  // namespace fusegrid
