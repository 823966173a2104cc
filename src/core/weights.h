#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/digest.h"

namespace fusegrid {

// Named tensors of one model, sorted by name: the one order that every pass, digest and reduction follows.
using Weights = std::map<std::string, at::Tensor>;

// What is known of a tensor without reading it.
struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  at::ScalarType dtype = at::kFloat;

  int64_t numel() const;
  bool floating() const { return at::isFloatingType(dtype); }
};

std::vector<TensorInfo> tensor_infos(const Weights& weights);

// Hexadecimal digest of names, dtypes, shapes and values of all tensors, in name order, hashed in pieces by several
// threads (docs/design/digests.md). Device: any; copied to the host.
std::string digest(const Weights& weights);
// One step of it, for tensors that come one at a time; in name order. values: digest_of_values(tensor).
void add_to_digest(Sha256& hash, const std::string& name, const at::Tensor& tensor,
                   const Sha256Bytes& values);
// By the calling thread.
Sha256Bytes digest_of_values(const at::Tensor& tensor);

Weights to_device(const Weights& weights, at::Device device);

}  // namespace fusegrid
