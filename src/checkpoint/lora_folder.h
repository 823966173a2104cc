#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/low_rank_factors.h"
#include "core/weights.h"

namespace fusegrid {

// The files of an adapter folder.
inline constexpr const char* kAdapterConfig = "adapter_config.json";
inline constexpr const char* kAdapterWeights = "adapter_model.safetensors";

// A LoRA adapter, in the names of the model that it is for.
struct LoraAdapter {
  // Of the tensors "<module>.weight", as a layer computes with them: b = B [out, r], a = A [r, in], scale =
  // alpha / r. Of an embedding, out is its width and in its number of tokens.
  FactorsByName factors;
  std::vector<std::string> targets;       // "target_modules": names of its modules, or the ends of names
  std::string task_type;                  // as PEFT calls it: "SEQ_2_SEQ_LM"; "": none
  std::set<std::string> embeddings = {};  // of the names in `factors`
  bool fan_in_fan_out = false;            // its layers store their weights as [in, out]
  Weights saved = {};                     // tensors that it holds whole; biases of adapted modules among them
  std::vector<std::string> modules_to_save = {};  // the modules of all others
};

// Writes adapter_config.json and adapter_model.safetensors as PEFT does, and `extra_files` beside them. base: what
// base_model_name_or_path says. Modules whose rank or alpha is not the most frequent one are in rank_pattern and
// alpha_pattern. Throws as save_folder().
void save_lora_folder(const std::filesystem::path& path, const LoraAdapter& adapter, const std::string& base,
                      const std::map<std::string, std::string>& extra_files = {});

}  // namespace fusegrid
