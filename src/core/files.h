// How files and folders come into being: whole or not at all, and safe from a power cut when they are there.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fusegrid {

// Whether there is a file or folder of this name. Names that none can have (too long ones, say) may be asked for, too.
bool is_there(const std::filesystem::path& path);

// Makes the names inside `folder` durable, after something in it was created or renamed. Throws IoError.
void sync_folder(const std::filesystem::path& folder);

// Renames atomically over what is there, and makes that durable. Throws IoError.
void rename_synced(const std::filesystem::path& from, const std::filesystem::path& to);

// Writes a new file in place of what has its name (a link is replaced, not followed) and syncs it, but not its name,
// and not atomically: for the files of a folder that is itself published whole. Throws IoError.
void write_synced(const std::filesystem::path& path, std::string_view content);

// As write_synced(), but at any instant `path` is what it was before, or the whole new file, and its name is durable
// too. Throws IoError; then nothing has changed.
void write_atomically(const std::filesystem::path& path, std::string_view content);

// The name <path>.tmp.<process> for an unfinished file or folder. What is left under that name when the
// object goes is removed, so that a failure leaves nothing behind.
class TemporaryPath {
 public:
  explicit TemporaryPath(std::filesystem::path final_path);
  ~TemporaryPath();
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;

  // What the names for `final_path` begin with, whichever process they are of: "<path>.tmp."
  static std::string stem(const std::filesystem::path& final_path);

  const std::filesystem::path& path() const { return path_; }
  // Renames to the final path and makes that durable. Throws IoError.
  void publish();

 private:
  std::filesystem::path final_path_;
  std::filesystem::path path_;
};

}  // namespace fusegrid
