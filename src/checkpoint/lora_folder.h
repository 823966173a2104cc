#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/low_rank_factors.h"

namespace fusegrid {

// The files of an adapter folder.
inline constexpr const char* kAdapterConfig = "adapter_config.json";
inline constexpr const char* kAdapterWeights = "adapter_model.safetensors";

// An adapter that was trained here.
struct LoraAdapter {
  FactorsByName factors;             // of the tensors "<module>.weight"; one rank and one scale
  std::vector<std::string> targets;  // the last parts of the names of its modules: "q", "v"
  std::string task_type;             // as PEFT calls it: "SEQ_2_SEQ_LM"
};

// Writes adapter_config.json and adapter_model.safetensors as PEFT does, and `extra_files` beside them. base: what
// base_model_name_or_path says. Throws as save_folder().
void save_lora_folder(const std::filesystem::path& path, const LoraAdapter& adapter, const std::string& base,
                      const std::map<std::string, std::string>& extra_files = {});

}  // namespace fusegrid
