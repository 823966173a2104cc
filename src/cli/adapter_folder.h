// Models of a grid as PEFT folders, for `fusegrid export --adapter`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "worker/model_folder.h"

namespace fusegrid {

// How a model is exported as an adapter: cut to a rank, or as the expert's own.
struct AdapterChoice {
  std::optional<int64_t> rank;  // none: its own
};
// The text of --adapter, "own" or a rank. UsageError.
AdapterChoice adapter_choice(const std::string& text);

struct WrittenAdapter {
  int64_t modules = 0;        // with factors
  double relative_error = 0;  // what of the change is missing, by the Frobenius norm
};

// Writes the adapter of this rank that comes nearest to the model, on model.base (merge/adapter/extraction.h; what has
// no factors is held whole), with heads.safetensors and the record, which gets how each module was cut. Throws as
// extract_adapter() and save_lora_folder().
WrittenAdapter write_cut_adapter(const std::filesystem::path& folder, const ModelToWrite& model, int64_t rank,
                                 int threads);

// Writes the files of an adapter as they are, with heads.safetensors and the record. Throws as ContainedFolder and
// save_folder().
void write_own_adapter(const std::filesystem::path& folder, const std::filesystem::path& adapter,
                       const ModelToWrite& model);

}  // namespace fusegrid
