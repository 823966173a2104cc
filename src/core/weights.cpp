#include "core/weights.h"

#include <functional>
#include <numeric>

#include "core/digest.h"

namespace fusegrid {

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

void add_to_digest(Sha256& hash, const std::string& name, const at::Tensor& tensor) {
  hash.update(name);
  hash.update(std::string(1, '\0') + at::toString(tensor.scalar_type()));
  for (const int64_t size : tensor.sizes()) {
    hash.update(&size, sizeof size);
  }
  const at::Tensor bytes = tensor.detach().cpu().contiguous();
  hash.update(bytes.const_data_ptr(), static_cast<size_t>(bytes.nbytes()));
}

std::string digest(const Weights& weights) {
  Sha256 hash;
  for (const auto& [name, tensor] : weights) {
    add_to_digest(hash, name, tensor);
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
