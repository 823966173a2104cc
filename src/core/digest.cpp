#include "core/digest.h"

#include <algorithm>
#include <vector>

#include <openssl/evp.h>

#include "core/errors.h"
#include "core/posix_file.h"

namespace fusegrid {
namespace {

constexpr std::string_view kOfPieces = "fusegrid: SHA-256 of the pieces of 64 MiB\n";
constexpr uint64_t kReadBytes = uint64_t{256}
                                << 10;  // what was read is still in the core's cache when it is hashed

std::string hex_of(const Sha256Bytes& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Sha256Bytes sha256_of_range(const PosixFile& file, uint64_t begin, uint64_t end) {
  Sha256 hash;
  std::vector<char> buffer(std::min(kReadBytes, end - begin));
  for (; begin < end; begin += buffer.size()) {
    buffer.resize(std::min<uint64_t>(buffer.size(), end - begin));
    file.read_at(begin, buffer.data(), buffer.size());
    hash.update(buffer.data(), buffer.size());
  }
  return hash.bytes();
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  FUSEGRID_ASSERT(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1, "SHA-256 is not available");
}
Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t size) {
  FUSEGRID_ASSERT(EVP_DigestUpdate(state_->context, data, size) == 1, "SHA-256 update failed");
}

std::string Sha256::hex() {
  return hex_of(bytes());
}

Sha256Bytes Sha256::bytes() {
  Sha256Bytes bytes{};
  FUSEGRID_ASSERT(EVP_DigestFinal_ex(state_->context, bytes.data(), nullptr) == 1, "SHA-256 final failed");
  return bytes;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  const PosixFile file = PosixFile::open(path);
  return hex_of(sha256_of_range(file, 0, file.size()));
}

Sha256Bytes digest_of_pieces(std::span<const Sha256Bytes> pieces) {
  FUSEGRID_ASSERT(!pieces.empty(), "no pieces");
  if (pieces.size() == 1) {
    return pieces.front();
  }
  Sha256 all;
  all.update(kOfPieces);
  for (const Sha256Bytes& piece : pieces) {
    all.update(piece.data(), piece.size());
  }
  return all.bytes();
}

std::string digest_of_file(const std::filesystem::path& path, int threads) {
  const PosixFile file = PosixFile::open(path);
  std::vector<Sha256Bytes> pieces(num_digest_pieces(file.size()));
  in_parallel(threads, pieces.size(), [&](size_t i) {
    pieces[i] = sha256_of_range(file, i * kDigestPiece, std::min(file.size(), (i + 1) * kDigestPiece));
  });
  file.check_unchanged();
  return hex_of(digest_of_pieces(pieces));
}

}  // namespace fusegrid
