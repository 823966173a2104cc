#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace fusegrid {

// A file that the store writes. Every change that the store makes on disk goes through this class and the
// functions below, so that the tests can make the k-th of them fail or die. Errors are IoErrors that name the
// file. Not copyable; the descriptor is closed on exec.
class File {
 public:
  enum class Mode {
    kRead,
    kAppend,  // creates the file where it is missing
    kCreate,  // empties a file that is there
  };
  File(std::filesystem::path path, Mode mode);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const;
  // The whole content; throws IoError where the file gets shorter meanwhile.
  std::string read_all() const;
  // Writes at the end. When it throws, a part of `bytes` may have been written.
  void append(std::string_view bytes);
  void truncate(uint64_t size);
  // Returns when content and size are on disk.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

// Renames atomically over a file that is there.
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);
// Makes creations and renames inside the folder durable: core's sync_folder with the fault hook.
void sync_names(const std::filesystem::path& folder);

// What a test makes of one file operation (write, truncate, sync, rename). Never set by the program.
struct Fault {
  enum class Action {
    kNone,
    kKillBefore,   // SIGKILL to this process instead of the operation
    kKillHalfway,  // after half the bytes of a write (as kKillBefore for other operations)
    kKillAfter,
    kFail,  // half the bytes of a write, then `error`
  };
  Action action = Action::kNone;
  int64_t operation = -1;  // which one, counted from 0 since set_fault
  int error = 0;           // errno of kFail
  size_t max_write = 0;    // > 0: one write call takes no more bytes (short writes)
};
void set_fault(const Fault& fault);
// Number of operations since set_fault.
int64_t num_file_operations();

}  // namespace fusegrid
