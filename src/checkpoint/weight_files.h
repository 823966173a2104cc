// What the weight files of a checkpoint folder are called.
#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "checkpoint/contained_folder.h"

namespace fusegrid {

// The names in one folder: those of transformers ("model") or those of diffusers ("diffusion_pytorch_model").
struct WeightFiles {
  std::string stem = "model";
  std::string single() const { return stem + ".safetensors"; }
  std::string index() const { return stem + ".safetensors.index.json"; }
  // "model-00002-of-00007.safetensors"
  std::string shard(size_t number, size_t total) const;
};

// By what the folder holds; those of transformers where it holds neither. Throws ConfigError where it holds both.
WeightFiles weight_files_of(const ContainedFolder& folder);

// The files of such a model: the single one, or the index and the shards that it names. DataError where the index
// is none.
std::set<std::string> weight_file_names(const ContainedFolder& folder);

}  // namespace fusegrid
