// Checkpoint folders in the layout of HuggingFace: config.json, then model.safetensors or
// model.safetensors.index.json with its shards, or the same under the names of diffusers (weight_files.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "checkpoint/model_source.h"
#include "checkpoint/safetensors.h"
#include "core/weights.h"

namespace fusegrid {

struct HfFolderOptions {
  bool allow_symlinks =
      false;                  // follow links that end inside the folder or its hub cache (contained_folder.h)
  bool follow_links = false;  // follow those that end elsewhere too: the user trusts who made them
};

// One folder, open for reading. Files are validated on opening, tensors are read on demand. All const members
// may be called from several threads at once.
class HfFolder final : public ModelSource {
 public:
  // Throws ConfigError where the folder is no checkpoint, holds only pickle files, has links that are not allowed or
  // is quantised (quantised.h); DataError where a file is damaged or the index and the shards disagree: every tensor
  // must be named once, and lie in the shard that the index says and in no other.
  explicit HfFolder(const std::filesystem::path& path, HfFolderOptions options = {});

  const std::filesystem::path& path() const { return path_; }
  const nlohmann::json& config() const override { return config_; }
  // What preprocessor_config.json says, where there is one. Throws as ContainedFolder::read_json().
  std::optional<nlohmann::json> preprocessor_config() const;

  std::string name() const override { return path_.string(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  bool contains(const std::string& name) const { return file_of_.contains(name); }
  // Throws DataError where there is no tensor `name`.
  const TensorInfo& info(const std::string& name) const;

  // As the members of SafetensorsFile.
  at::Tensor read(const std::string& name) const;
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  void check_unchanged() const override;
  // The tensors whose names begin with `prefix` ("vision_model."), under their full names.
  Weights read_all(const std::string& prefix = "") const;

  // SHA-256 of all tensors: equals digest(read_all()), but holds one tensor at a time.
  std::string digest() const;

 private:
  const SafetensorsFile& file_of(const std::string& name) const;
  void add_file(SafetensorsFile file);

  std::filesystem::path path_;
  HfFolderOptions options_;
  nlohmann::json config_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> file_of_;
  std::vector<TensorInfo> tensors_;
};

// Writes config.json, model.safetensors and `extra_files` (name -> content). The same arguments, the same bytes. Throws
// as save_folder().
void save_hf_folder(const std::filesystem::path& path, const Weights& weights, const nlohmann::json& config,
                    const std::map<std::string, std::string>& extra_files = {});

}  // namespace fusegrid
