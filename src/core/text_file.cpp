#include "core/text_file.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr size_t kMostBytes = size_t{16} << 20;

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& file) : fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string read_text_file(const std::filesystem::path& file, const std::string& what) {
  const std::string name = "the " + what + " '" + file.string() + "'";
  const Descriptor descriptor(file);
  if (descriptor.get() < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    throw ConfigError("there is no " + what + " '" + file.string() + "'");
  }
  std::string text;
  std::array<char, 65536> buffer{};
  ssize_t count = 0;
  while (descriptor.get() >= 0 && (count = ::read(descriptor.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(count));
    if (text.size() > kMostBytes) {
      throw ConfigError(name + " must be a text of at most 16 MiB, but it is larger; is it another file?");
    }
  }
  if (descriptor.get() < 0 || count < 0) {
    throw IoError(name + " cannot be read: " + std::strerror(errno));
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    throw ConfigError(
        name + " must be written in UTF-8, but it is in UTF-16; save it as UTF-8, or convert it with " +
        "'iconv -f UTF-16 -t UTF-8'");
  }
  if (text.find('\0') != std::string::npos) {
    throw ConfigError(name +
                      " must be a text in UTF-8, but it has zero bytes; is it another file, or in UTF-16?");
  }
  constexpr const char* kMark = "\xEF\xBB\xBF";
  return text.starts_with(kMark) ? text.substr(std::strlen(kMark)) : text;
}

}  // namespace fusegrid
