#include "checkpoint/save_folder.h"

#include <system_error>

#include "checkpoint/contained_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "core/files.h"

namespace fusegrid {

void save_folder(const std::filesystem::path& path, const std::map<std::string, std::string>& files,
                 const std::map<std::string, Weights>& weights) {
  check_new_folder(path);
  for (const auto& [name, content] : files) {
    if (!is_file_name(name) || weights.contains(name)) {
      throw ConfigError("an extra file of a checkpoint must have a plain name of its own, but it is '" +
                        name + "'");
    }
  }
  // without a slash at its end, which would put the temporary folder inside
  TemporaryPath temporary((std::filesystem::absolute(path) / "").parent_path());
  if (std::error_code error; !std::filesystem::create_directories(temporary.path(), error)) {
    throw IoError("cannot create '" + temporary.path().string() + "': " + error.message());
  }
  for (const auto& [name, content] : files) {
    write_synced(temporary.path() / name, content);
  }
  for (const auto& [name, tensors] : weights) {
    // transformers refuses files that do not name the framework
    write_safetensors(temporary.path() / name, tensors, {{"format", "pt"}});
  }
  sync_folder(temporary.path());
  temporary.publish();
}

void check_new_folder(const std::filesystem::path& path) {
  std::error_code error;
  const auto type = std::filesystem::symlink_status(path, error).type();
  const bool empty = type == std::filesystem::file_type::directory && std::filesystem::is_empty(path, error);
  if (type != std::filesystem::file_type::not_found && !empty) {
    throw ConfigError("a checkpoint must be saved to a new folder, but '" + path.string() +
                      "' exists; remove it or choose another");
  }
}

}  // namespace fusegrid
