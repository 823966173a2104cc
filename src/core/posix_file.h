// Files by descriptor: complete reads and writes at positions, and what must be synced for a file to survive
// a power cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace fusegrid {

// An open regular file; closed on destruction.
class PosixFile {
 public:
  // Takes over the open descriptor `fd` of `path`. Throws DataError where it is no regular file.
  PosixFile(int fd, std::filesystem::path path);
  // Opens for reading. Throws IoError where that fails.
  static PosixFile open(const std::filesystem::path& path);
  // Creates, or empties, a file for writing. Throws IoError where that fails.
  static PosixFile create(const std::filesystem::path& path);
  // Opens for writing what is there, and creates it if it is not. Throws IoError where that fails.
  static PosixFile update(const std::filesystem::path& path);
  ~PosixFile();
  PosixFile(PosixFile&& other) noexcept;
  PosixFile& operator=(PosixFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return opened_.size; }  // when it was opened

  // Reads exactly `size` bytes at `offset`; any number of threads may do so at once. Never maps the file: a
  // mapped file that shrinks kills the process. Throws DataError where the file ends early, IoError where
  // reading fails.
  void read_at(uint64_t offset, void* destination, size_t size) const;
  // Throws DataError where size, time of change or identity are no longer those of the opening.
  void check_unchanged() const;

  // Writes exactly `size` bytes at `offset`; any number of threads may do so at once. Throws IoError.
  void write_at(uint64_t offset, const void* source, size_t size);
  void sync();

 private:
  struct Stamp {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;

  int fd_ = -1;
  std::filesystem::path path_;
  Stamp opened_;
};

// "cannot <action> '<path>': <text of errno>"
std::string system_message(const std::string& action, const std::filesystem::path& path);

}  // namespace fusegrid
