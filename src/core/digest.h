#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/parallel.h"

namespace fusegrid {

using Sha256Bytes = std::array<unsigned char, 32>;

// Incremental SHA-256 (OpenSSL).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(const void* data, size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  // The digest, in hexadecimal or as bytes; the object must not be used afterwards.
  std::string hex();
  Sha256Bytes bytes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view bytes);
// Throws IoError where the file cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

// Digests in pieces, which threads compute side by side (docs/design/digests.md). Of content that is no longer than one
// piece: its SHA-256. Of longer content: the SHA-256 of a line that says so and of the SHA-256s of its consecutive
// pieces. It is the same for any number of threads.
constexpr size_t kDigestPiece = size_t{64} << 20;  // bytes
constexpr size_t num_digest_pieces(size_t bytes) {
  return bytes <= kDigestPiece ? 1 : (bytes + kDigestPiece - 1) / kDigestPiece;
}
// pieces: the SHA-256 of each, at least one.
Sha256Bytes digest_of_pieces(std::span<const Sha256Bytes> pieces);
// Of a whole file, hexadecimal. Throws IoError where the file cannot be read, DataError where it changes meanwhile.
std::string digest_of_file(const std::filesystem::path& path, int threads = reading_threads());

}  // namespace fusegrid
