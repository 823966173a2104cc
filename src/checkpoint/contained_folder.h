#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/posix_file.h"

namespace fusegrid {

// A folder from a stranger: opens files that really lie in it, by plain names only.
class ContainedFolder {
 public:
  // With `allow_symlinks`, a symbolic link is followed where it ends in the folder; in a folder
  // <repository>/snapshots/<revision>, as the cache of the HuggingFace hub has, or a folder in that, where it ends in
  // <repository>. With `follow_links` as well, it may end anywhere. Throws ConfigError where `path` is no folder.
  ContainedFolder(std::filesystem::path path, bool allow_symlinks, bool follow_links = false);

  const std::filesystem::path& path() const { return path_; }
  // Whether there is a file, or a link, of that name.
  bool contains(const std::string& name) const;
  // Where the file `relative`, any path below the folder, really lies. Throws DataError where it is missing,
  // ConfigError where it is a link that is not allowed.
  std::filesystem::path resolve(const std::filesystem::path& relative) const;
  // Throws DataError where the name is none (is_file_name), is missing, or is no regular file; ConfigError
  // where it is a symbolic link that is not allowed.
  PosixFile open(const std::string& name) const;
  // Parses a JSON file of at most `max_bytes` bytes (lossless_json.h). Throws as open() and parse_lossless().
  nlohmann::json read_json(const std::string& name, uint64_t max_bytes) const;

 private:
  std::filesystem::path path_;
  std::filesystem::path root_;  // links must end below
  bool allow_symlinks_;
  bool follow_links_;
};

// A letter or digit, then letters, digits, '.', '_' and '-': nothing that could lead out of a folder.
bool is_file_name(const std::string& name);

}  // namespace fusegrid
