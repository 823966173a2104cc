#include "checkpoint/pipeline_folder.h"

#include <system_error>

#include "checkpoint/contained_folder.h"
#include "checkpoint/folder_files.h"
#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr auto kPipelineIndex = "model_index.json";
constexpr uint64_t kMaxPipelineIndexBytes = uint64_t{16} << 20;

bool holds_weights(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (folder_entry(entry.path().filename().string()) == FolderEntry::kWeights) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool is_pipeline(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path / kPipelineIndex, error);
}

PipelineFolder::PipelineFolder(const std::filesystem::path& folder, HfFolderOptions options) : path(folder) {
  const ContainedFolder files(folder, options.allow_symlinks, options.follow_links);
  const std::string where = "'" + (folder / kPipelineIndex).string() + "'";
  if (!files.contains(kPipelineIndex)) {
    throw ConfigError("a pipeline of diffusers must hold " + std::string(kPipelineIndex) + ", but '" +
                      folder.string() +
                      "' does not; give the folder that save_pretrained of the pipeline wrote");
  }
  const nlohmann::json index = files.read_json(kPipelineIndex, kMaxPipelineIndexBytes);
  if (!index.is_object() || !index.contains("_class_name") || !index["_class_name"].is_string()) {
    throw DataError(where + " must be an object with the string _class_name; was the file cut?");
  }
  class_name = index["_class_name"].get<std::string>();
  for (const auto& [name, entry] : index.items()) {
    const bool is_component =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
    if (name.starts_with("_") || !is_component) {
      continue;  // a setting of the pipeline, or a component that it does without: [null, null]
    }
    if (!is_file_name(name)) {
      throw DataError(where + " must name components by letters, digits, '.', '_' and '-', but it names " +
                      printable(name));
    }
    std::error_code error;
    if (!std::filesystem::is_directory(folder / name, error)) {
      throw ConfigError(where + " names the component '" + name + "', so '" + (folder / name).string() +
                        "' must be a folder, but there is none; fetch all of the pipeline");
    }
    const std::filesystem::path own = files.resolve(name);
    components.emplace(name, PipelineComponent{entry[0].get<std::string>(), entry[1].get<std::string>(),
                                               holds_weights(own)});
  }
}

std::vector<std::string> PipelineFolder::names() const {
  std::vector<std::string> all;
  for (const auto& [name, component] : components) {
    all.push_back(name);
  }
  return all;
}

std::vector<std::string> PipelineFolder::networks() const {
  std::vector<std::string> all;
  for (const auto& [name, component] : components) {
    if (component.has_weights) {
      all.push_back(name);
    }
  }
  return all;
}

}  // namespace fusegrid
