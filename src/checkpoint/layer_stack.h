// Layers of checkpoints, one upon the other, as one model: depth up-scaling ("SOLAR 10.7B", Kim et al., 2023,
// arXiv:2312.15166) and what is called frankenmerging (slices and passthrough of mergekit).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/model_source.h"

namespace fusegrid {

struct LayerSlice {
  std::filesystem::path folder;  // a whole checkpoint
  int64_t begin = 0;
  int64_t end = 0;  // behind the last layer
};

std::string range_text(const LayerSlice& slice);                // "FOLDER[BEGIN:END]"
std::string stack_text(const std::vector<LayerSlice>& slices);  // what parse_layer_stack() reads

// Reads "FOLDER[BEGIN:END]+FOLDER[BEGIN:END]+...". Empty where `text` does not end in such a range, or is a folder
// that exists. Throws ConfigError where it does and the rest is wrong.
std::vector<LayerSlice> parse_layer_stack(const std::string& text);

// The layers of the slices, numbered anew from 0; what comes before the layers (embeddings) is the first folder's, what
// comes behind them (last norm, head) the last one's, as in mergekit. Throws ConfigError where a folder has no stack of layers, or several (two towers), fewer layers than asked for, or tensors of
// other shapes; and as HfFolder.
std::unique_ptr<ModelSource> open_layer_stack(const std::vector<LayerSlice>& slices, HfFolderOptions options);

// config.json of the first folder with the number of layers of the stack; in lists that have an entry for each layer
// ("layer_types") the entries go with their layers. Throws ConfigError where it does not say how many layers there are.
nlohmann::json layer_stack_config(const std::vector<LayerSlice>& slices, HfFolderOptions options);

}  // namespace fusegrid
