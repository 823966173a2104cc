#include "core/digest.h"

#include <array>
#include <fstream>
#include <vector>

#include <openssl/evp.h>

#include "core/errors.h"

namespace fusegrid {

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
  std::array<unsigned char, 32> bytes{};
  FUSEGRID_ASSERT(EVP_DigestFinal_ex(state_->context, bytes.data(), nullptr) == 1, "SHA-256 final failed");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw IoError("cannot read '" + path.string() + "' to compute its digest");
  }
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    hash.update(buffer.data(), static_cast<size_t>(in.gcount()));
  }
  return hash.hex();
}

}  // namespace fusegrid
