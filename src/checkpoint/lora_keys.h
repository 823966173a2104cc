#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fusegrid {

// What the names of all tensors in an adapter's file begin with.
inline constexpr const char* kAdapterRoot = "base_model.model.";

// What a tensor of a LoRA adapter's file is.
struct LoraKey {
  enum class Kind : uint8_t {
    kA,
    kB,
    kEmbeddingA,
    kEmbeddingB,
    kCopy,    // a trained copy of a tensor of the base
    kUnused,  // PEFT's copy of the base from before the training (bias = all with modules_to_save)
  };
  Kind kind = Kind::kCopy;
  std::string target;  // the module of a factor; the tensor of a copy
};

// Reads a name of `file`. `base_model.model.` at its beginning, the adapter name `default` and PEFT's wrappers
// (modules_to_save, base_layer) are taken off. Throws ConfigError where it belongs to something that is not read
// (DoRA, trained tokens, biases of factors, other adapter names).
LoraKey parse_lora_key(const std::string& name, const std::string& file);

// The rules that keys of all adapters share.
// Without kAdapterRoot. Throws ConfigError where the name begins otherwise.
std::string without_adapter_root(const std::string& name, const std::string& file);
// "a.b.lora_A.default.weight" with part ".lora_A" and ending ".weight" -> "a.b"; nothing where the key is another one.
std::optional<std::string> module_before(const std::string& key, const std::string& part,
                                         const std::string& ending);
// The tensor of the base that the key of a trained copy means.
std::string copied_tensor(const std::string& key);

}  // namespace fusegrid
