#include "checkpoint/contained_folder.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>

#include "checkpoint/json_scanner.h"
#include "checkpoint/lossless_json.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace

bool is_file_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && is_alphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

namespace {

// Of what somebody took for a folder of this machine, and is none.
std::string no_folder(const std::filesystem::path& path) {
  const std::string text = path.string();
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    return "is no folder; give the folder that it lies in";
  }
  const bool url = text.find("://") != std::string::npos;
  const bool local = text.starts_with("/") || text.starts_with(".") || text.starts_with("~");
  const bool hub = url || (!local && std::count(text.begin(), text.end(), '/') <= 1);
  return std::string("does not exist") +
         (hub ? "; a model of a hub must be downloaded first (hf download " +
                    (url ? "ORGANISATION/MODEL" : text) + " --local-dir FOLDER), and its folder given"
              : "");
}

}  // namespace

ContainedFolder::ContainedFolder(std::filesystem::path path, bool allow_symlinks, bool follow_links)
    : path_(std::move(path)), allow_symlinks_(allow_symlinks), follow_links_(follow_links) {
  std::error_code error;
  root_ = std::filesystem::canonical(path_, error);
  if (error || !std::filesystem::is_directory(root_, error)) {
    throw ConfigError("a checkpoint must be a folder in the layout of HuggingFace, but '" + path_.string() +
                      "' " + no_folder(path_));
  }
  // of a pipeline's component, the snapshot is one folder further up
  for (const std::filesystem::path& snapshot : {root_, root_.parent_path()}) {
    if (snapshot.parent_path().filename() == "snapshots") {
      root_ = snapshot.parent_path().parent_path();
      break;
    }
  }
}

bool ContainedFolder::contains(const std::string& name) const {
  std::error_code error;
  return std::filesystem::exists(std::filesystem::symlink_status(path_ / name, error));
}

std::filesystem::path ContainedFolder::resolve(const std::filesystem::path& relative) const {
  const std::filesystem::path file = path_ / relative;
  std::error_code error;
  std::filesystem::path target = std::filesystem::canonical(file, error);
  if (error) {
    throw DataError("'" + file.string() + "' is missing: " + error.message());
  }
  if (!follow_links_ && !is_below(target, root_)) {
    throw ConfigError("a symbolic link must end in '" + root_.string() + "', but '" + file.string() +
                      "' leads to '" + target.string() +
                      "'; copy the file there, or, if you trust the link, let fusegrid merge read it with "
                      "--follow-links");
  }
  return target;
}

PosixFile ContainedFolder::open(const std::string& name) const {
  const std::filesystem::path file = path_ / name;
  if (!is_file_name(name)) {
    throw DataError("a file of '" + path_.string() +
                    "' must be named by letters, digits, '.', '_' and '-', but " + printable(name) +
                    " is not");
  }
  const std::filesystem::path target = allow_symlinks_ ? resolve(name) : file;
  // O_NONBLOCK: opening a named pipe must not wait for its writer
  const int fd = ::open(target.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && errno == ELOOP) {
    throw ConfigError(
        "'" + file.string() +
        "' is a symbolic link, which could lead out of the folder; pass --allow-symlinks if you "
        "trust it (it must still end inside the folder)");
  }
  if (fd < 0 && errno == ENOENT) {
    throw DataError("'" + file.string() + "' is missing");
  }
  if (fd < 0) {
    throw IoError(system_message("open", file));
  }
  return {fd, file};
}

nlohmann::json ContainedFolder::read_json(const std::string& name, uint64_t max_bytes) const {
  const PosixFile file = open(name);
  const std::string where = file.path().string();
  if (file.size() > max_bytes) {
    throw DataError("'" + where + "' must have at most " + std::to_string(max_bytes) + " bytes, but it has " +
                    std::to_string(file.size()));
  }
  std::string text(file.size(), '\0');
  file.read_at(0, text.data(), text.size());
  return parse_lossless(text, where);
}

}  // namespace fusegrid
