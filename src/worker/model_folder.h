#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/weights.h"
#include "fusion/fused_model.h"
#include "models/architecture.h"
#include "zoo/zoo.h"

namespace fusegrid {

// Files of an exported folder.
inline constexpr const char* kExportHeads = "heads.safetensors";
inline constexpr const char* kExportRecord = "fusegrid_export.json";

// A model to be written as a folder of HuggingFace.
struct ModelToWrite {
  std::filesystem::path base;  // whose folder it is like
  const Architecture& architecture;
  const Weights& parameters;  // on any device
  at::ScalarType dtype = at::kFloat;
  Weights heads = {};  // of its tasks, as a heads file has them; none where the model makes tokens itself
  nlohmann::json record = nullptr;  // what it is, for fusegrid_export.json; null: no such file
};

struct WrittenModel {
  int64_t tensors = 0;
  int64_t bytes = 0;  // of the weights
  int64_t files = 0;  // of the weights
};

// The heads under which the merge answers these tasks: its own where it has one, else the zoo's. Empty where models
// make tokens themselves.
Weights heads_of_merge(const FusedModel& model, const Replicate& replicate,
                       const std::vector<std::string>& tasks);

// Writes the folder: config.json, the base's small files but its README.md, weights in files as the base's with what
// else it holds and what HuggingFace's class needs (Architecture::complete()), heads.safetensors and
// fusegrid_export.json. The same arguments, the same bytes. Throws as HfFolder and
// save_folder().
WrittenModel write_model_folder(const std::filesystem::path& folder, const ModelToWrite& model);

}  // namespace fusegrid
