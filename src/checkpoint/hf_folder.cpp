#include "checkpoint/hf_folder.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "checkpoint/contained_folder.h"
#include "checkpoint/json_scanner.h"
#include "checkpoint/lossless_json.h"
#include "checkpoint/missing_weights.h"
#include "checkpoint/quantised.h"
#include "checkpoint/save_folder.h"
#include "checkpoint/weight_files.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"

namespace fusegrid {
namespace {

constexpr auto kConfig = "config.json";
constexpr auto kModelIndex = "model_index.json";
constexpr auto kPreprocessor = "preprocessor_config.json";
constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;
constexpr size_t kMaxShards = 10'000;

// The tensors of each shard.
using Shards = std::map<std::string, std::set<std::string>>;

bool is_shard_name(const std::string& name) {
  return is_file_name(name) && name.ends_with(".safetensors");
}

// total_size of its metadata is not looked at: writers disagree on what it counts, and the headers of the shards say
// more.
Shards parse_index(const nlohmann::json& json, const std::string& file) {
  const auto fail = [&](const std::string& message) { throw DataError("'" + file + "': " + message); };
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    fail("an index must have the object weight_map, but it has none");
  }
  Shards shards;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !is_shard_name(shard.get<std::string>())) {
      fail(
          "weight_map must name files of the folder that end in .safetensors (letters, digits, '.', '_', "
          "'-'), "
          "but for " +
          printable(name) + " it has " + printable(shard.dump(-1, ' ', true)));
    }
    shards[shard.get<std::string>()].insert(name);
  }
  return shards;
}

void check_shard(const SafetensorsFile& file, const std::set<std::string>& names) {
  const auto fail = [&](const std::string& what, const std::string& name) {
    throw DataError("'" + file.path().string() +
                    "' must hold exactly the tensors that the index places in it, but it " + what + " " +
                    printable(name));
  };
  for (const auto& tensor : file.tensors()) {
    if (!names.contains(tensor.name)) {
      fail("also holds", tensor.name);
    }
  }
  for (const auto& name : names) {
    if (!file.contains(name)) {
      fail("lacks", name);
    }
  }
}

std::vector<SafetensorsFile> open_shards(const ContainedFolder& folder, const std::string& index) {
  const std::string where = (folder.path() / index).string();
  const Shards shards = parse_index(folder.read_json(index, kMaxIndexBytes), where);
  if (shards.size() > kMaxShards) {
    throw DataError("'" + where + "' must name at most " + std::to_string(kMaxShards) +
                    " shards, but it names " + std::to_string(shards.size()));
  }
  std::vector<SafetensorsFile> files;
  for (const auto& [shard, names] : shards) {
    check_shard(files.emplace_back(folder.open(shard)), names);
  }
  return files;
}

std::vector<SafetensorsFile> open_files(const ContainedFolder& folder) {
  const WeightFiles names = weight_files_of(folder);
  const bool single = folder.contains(names.single());
  const bool index = folder.contains(names.index());
  if (single && index) {
    throw ConfigError("a checkpoint folder must hold either " + names.single() + " or " + names.index() +
                      ", but '" + folder.path().string() + "' holds both; remove one");
  }
  if (index) {
    return open_shards(folder, names.index());
  }
  if (!single) {
    fail_without_weights(folder.path());
  }
  std::vector<SafetensorsFile> files;
  files.emplace_back(folder.open(names.single()));
  return files;
}

}  // namespace

HfFolder::HfFolder(const std::filesystem::path& path, HfFolderOptions options)
    : path_(path), options_(options) {
  const ContainedFolder folder(path, options.allow_symlinks, options.follow_links);
  if (!folder.contains(kConfig) && folder.contains(kModelIndex)) {
    throw ConfigError(
        "'" + path.string() + "' is a pipeline of diffusers (" + kModelIndex +
        "), which is no single model; where a pipeline is merged, base and experts are pipelines "
        "or LoRA files; elsewhere give the folder of one component, as '" +
        (path / "unet").string() + "'");
  }
  if (!folder.contains(kConfig)) {
    std::error_code none;
    const bool cache = std::filesystem::is_directory(path / "snapshots", none);
    throw ConfigError("a checkpoint folder must hold " + std::string(kConfig) + ", but '" + path.string() +
                      "' does not" +
                      (cache ? "; give one of the folders in '" + (path / "snapshots").string() + "'" : ""));
  }
  config_ = folder.read_json(kConfig, kMaxConfigBytes);
  for (auto& file : open_files(folder)) {
    add_file(std::move(file));
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  check_not_quantised(path.string(), config_, tensors_);
}

std::optional<nlohmann::json> HfFolder::preprocessor_config() const {
  const ContainedFolder folder(path_, options_.allow_symlinks, options_.follow_links);
  if (!folder.contains(kPreprocessor)) {
    return std::nullopt;
  }
  return folder.read_json(kPreprocessor, kMaxConfigBytes);
}

void HfFolder::add_file(SafetensorsFile file) {
  files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
  for (const auto& tensor : files_.back()->tensors()) {
    tensors_.push_back(files_.back()->info(tensor.name));
    file_of_.emplace(tensor.name, files_.back().get());
  }
}

const SafetensorsFile& HfFolder::file_of(const std::string& name) const {
  const auto it = file_of_.find(name);
  if (it == file_of_.end()) {
    throw DataError("'" + path_.string() + "' has no tensor " + printable(name) + "; it has " +
                    std::to_string(tensors_.size()) + " others");
  }
  return *it->second;
}

const TensorInfo& HfFolder::info(const std::string& name) const {
  file_of(name);
  return *find_tensor(*this, name);
}

at::Tensor HfFolder::read(const std::string& name) const {
  return file_of(name).read(name);
}

void HfFolder::read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const {
  file_of(name).read_range(name, begin, count, destination);
}

void HfFolder::check_unchanged() const {
  for (const auto& file : files_) {
    file->check_unchanged();
  }
}

Weights HfFolder::read_all(const std::string& prefix) const {
  Weights weights;
  for (const auto& [name, file] : file_of_) {
    if (name.starts_with(prefix)) {
      weights.emplace(name, file->read(name));
    }
  }
  return weights;
}

std::string HfFolder::digest() const {
  Sha256 hash;
  for (const auto& [name, file] : file_of_) {
    const at::Tensor tensor = file->read(name);
    add_to_digest(hash, name, tensor, digest_of_values(tensor));
  }
  return hash.hex();
}

void save_hf_folder(const std::filesystem::path& path, const Weights& weights, const nlohmann::json& config,
                    const std::map<std::string, std::string>& extra_files) {
  const WeightFiles names;
  for (const std::string& ours : {std::string(kConfig), names.index()}) {
    if (extra_files.contains(ours)) {
      throw ConfigError("an extra file of a checkpoint must have a plain name of its own, but it is '" +
                        ours + "'");
    }
  }
  auto files = extra_files;
  files[kConfig] = dump_lossless(config, 2) + "\n";
  save_folder(path, files, {{names.single(), weights}});
}

}  // namespace fusegrid
