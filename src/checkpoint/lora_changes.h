#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "checkpoint/safetensors.h"

namespace fusegrid {

// How a LoRA adapter changes one tensor of its base. Keys are names of the adapter's file, "" where it has none.
struct LoraChange {
  std::string copy;  // a trained copy, used instead of the base's tensor
  std::string a, b;
  std::string module;  // that A and B belong to; "" of a copy alone
  bool embedding = false;
};

// By the name of the tensor in the model that the adapter was trained on.
using LoraChanges = std::map<std::string, LoraChange>;

// What the file of an adapter changes, by the names of its tensors (lora_keys.h). Throws ConfigError as
// parse_lora_key(); DataError where the file holds nothing, one thing twice, or a module lacks A or B.
LoraChanges lora_changes(const SafetensorsFile& file);

// The shapes of a module's factors, A [rank, in] and B [out, rank]. DataError where they are others.
struct FactorShape {
  int64_t out = 0, in = 0, rank = 0;
};
FactorShape factor_shape(const SafetensorsFile& file, const LoraChange& change);

// Whether two tensors of the file have one dtype, shape and content.
bool same_bytes(const SafetensorsFile& file, const std::string& first, const std::string& second);

}  // namespace fusegrid
