#include "checkpoint/save_folder.h"

#include <system_error>

#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "core/files.h"

namespace fusegrid {

void save_folder(const std::filesystem::path& path, const std::map<std::string, std::string>& files,
                 const std::string& weights_file, const Weights& weights) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_empty(path, error)) {
    throw ConfigError("a checkpoint must be saved to a new folder, but '" + path.string() +
                      "' exists; remove it or choose another");
  }
  for (const auto& [name, content] : files) {
    if (!is_file_name(name) || name == weights_file) {
      throw ConfigError("an extra file of a checkpoint must have a plain name of its own, but it is '" +
                        name + "'");
    }
  }
  // without a slash at its end, which would put the temporary folder inside
  TemporaryPath temporary((std::filesystem::absolute(path) / "").parent_path());
  if (!std::filesystem::create_directories(temporary.path(), error)) {
    throw IoError("cannot create '" + temporary.path().string() + "': " + error.message());
  }
  for (const auto& [name, content] : files) {
    write_synced(temporary.path() / name, content);
  }
  // transformers refuses files that do not name the framework
  write_safetensors(temporary.path() / weights_file, weights, {{"format", "pt"}});
  sync_folder(temporary.path());
  temporary.publish();
}

}  // namespace fusegrid
