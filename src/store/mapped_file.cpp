#include "store/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

[[noreturn]] void fail_with_errno(const std::filesystem::path& path, const char* what) {
  throw IoError("cannot " + std::string(what) + " '" + path.string() + "': " + std::strerror(errno));
}

// An open file of known size.
struct OpenFile {
  explicit OpenFile(const std::filesystem::path& path)
      : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
      fail_with_errno(path, "open");
    }
    bytes = static_cast<uint64_t>(status.st_size);
  }
  ~OpenFile() {
    if (descriptor >= 0) {
      close(descriptor);
    }
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor;
  uint64_t bytes = 0;
};

}  // namespace

at::Tensor mapped_bytes(const std::filesystem::path& path, uint64_t offset,
                        const std::vector<int64_t>& shape) {
  uint64_t bytes = 1;
  for (const int64_t extent : shape) {
    bytes *= static_cast<uint64_t>(extent);
  }
  const OpenFile file(path);
  if (offset > file.bytes || bytes > file.bytes - offset) {
    throw DataError("'" + path.string() +
                    "' ends before the data that it describes; it was cut off: make it again");
  }
  if (bytes == 0) {
    return at::from_blob(nullptr, shape, at::TensorOptions(at::kByte));
  }
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  const size_t length = static_cast<size_t>(offset - begin + bytes);
  void* memory = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, file.descriptor, static_cast<off_t>(begin));
  if (memory == MAP_FAILED) {
    fail_with_errno(path, "map");
  }
  madvise(memory, length, MADV_SEQUENTIAL);
  return at::from_blob(
      static_cast<char*>(memory) + (offset - begin), shape,
      [memory, length](void*) { munmap(memory, length); }, at::TensorOptions(at::kByte));
}

}  // namespace fusegrid
