#include "core/weights.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>

#include "core/digest.h"

namespace fusegrid {
namespace {

constexpr size_t kBytesOfThread = size_t{4} << 20;  // less is hashed before another thread would be of use

int threads_for(size_t bytes) {
  return static_cast<int>(std::min(static_cast<size_t>(reading_threads()), 1 + bytes / kBytesOfThread));
}

at::Tensor flat(const at::Tensor& tensor) {
  return tensor.detach().contiguous().view({-1});
}

Sha256Bytes sha256_of_piece(const at::Tensor& values, size_t number) {
  const auto elements = static_cast<int64_t>(kDigestPiece / values.element_size());
  const int64_t begin = static_cast<int64_t>(number) * elements;
  const at::Tensor piece = values.narrow(0, begin, std::min(elements, values.numel() - begin)).cpu();
  Sha256 hash;
  hash.update(piece.const_data_ptr(), piece.nbytes());
  return hash.bytes();
}

}  // namespace

int64_t TensorInfo::numel() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<TensorInfo> tensor_infos(const Weights& weights) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : weights) {
    infos.push_back({name, tensor.sizes().vec(), tensor.scalar_type()});
  }
  return infos;
}

void add_to_digest(Sha256& hash, const std::string& name, const at::Tensor& tensor,
                   const Sha256Bytes& values) {
  hash.update(name);
  hash.update(std::string(1, '\0') + at::toString(tensor.scalar_type()));
  for (const int64_t size : tensor.sizes()) {
    hash.update(&size, sizeof size);
  }
  hash.update(values.data(), values.size());
}

Sha256Bytes digest_of_values(const at::Tensor& tensor) {
  const at::Tensor values = flat(tensor);
  std::vector<Sha256Bytes> pieces(num_digest_pieces(values.nbytes()));
  for (size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = sha256_of_piece(values, i);
  }
  return digest_of_pieces(pieces);
}

std::string digest(const Weights& weights) {
  struct Piece {
    const at::Tensor* values;
    size_t number;
  };
  std::vector<at::Tensor> all;
  std::vector<Piece> pieces;
  size_t bytes = 0;
  all.reserve(weights.size());  // pieces point into it
  for (const auto& [name, tensor] : weights) {
    all.push_back(flat(tensor));
    bytes += all.back().nbytes();
    for (size_t i = 0; i < num_digest_pieces(all.back().nbytes()); ++i) {
      pieces.push_back({&all.back(), i});
    }
  }
  std::vector<Sha256Bytes> hashed(pieces.size());
  in_parallel(threads_for(bytes), pieces.size(),
              [&](size_t i) { hashed[i] = sha256_of_piece(*pieces[i].values, pieces[i].number); });
  Sha256 hash;
  auto of_tensor = hashed.begin();
  for (const auto& [name, tensor] : weights) {
    const auto count = static_cast<std::ptrdiff_t>(num_digest_pieces(tensor.nbytes()));
    add_to_digest(hash, name, tensor, digest_of_pieces({of_tensor, of_tensor + count}));
    of_tensor += count;
  }
  return hash.hex();
}

Weights to_device(const Weights& weights, at::Device device) {
  Weights moved;
  for (const auto& [name, tensor] : weights) {
    moved.emplace(name, tensor.to(device));
  }
  return moved;
}

}  // namespace fusegrid
