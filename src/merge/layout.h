#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "core/weights.h"
#include "merge/spec.h"

namespace fusegrid {

struct MergeShard {
  std::string file;
  std::vector<TensorInfo> tensors;  // sorted by name; dtype: of the output
  int64_t bytes() const;
};

// The weight files of a merged model; a merge finishes them in this order.
struct MergeLayout {
  std::vector<MergeShard> shards;
  std::string index_file;  // "model.safetensors.index.json"
  int64_t bytes() const;
  // The content of that file; one shard has none.
  nlohmann::json index() const;
};

// tensors: of the output, sorted by name. With `shard_bytes`, files of at most so many bytes (a larger tensor has its
// own); otherwise those of `reference_folder`, as its index names them. They are called as that folder's are.
MergeLayout output_layout(const std::vector<TensorInfo>& tensors, std::optional<int64_t> shard_bytes,
                          const std::filesystem::path& reference_folder, HfFolderOptions options);

int64_t tensor_bytes(const TensorInfo& info);

}  // namespace fusegrid
