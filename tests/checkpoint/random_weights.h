#pragma once

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "core/weights.h"

namespace fusegrid {

inline const std::vector<at::ScalarType>& stored_dtypes() {
  static const std::vector<at::ScalarType> dtypes{at::kBool,
                                                  at::kByte,
                                                  at::kChar,
                                                  at::kShort,
                                                  at::kInt,
                                                  at::kLong,
                                                  at::kUInt16,
                                                  at::kUInt32,
                                                  at::kUInt64,
                                                  at::kHalf,
                                                  at::kBFloat16,
                                                  at::kFloat,
                                                  at::kDouble,
                                                  at::kComplexFloat,
                                                  at::kFloat8_e5m2,
                                                  at::kFloat8_e4m3fn,
                                                  at::kFloat8_e5m2fnuz,
                                                  at::kFloat8_e4m3fnuz,
                                                  at::kFloat8_e8m0fnu};
  return dtypes;
}

// A tensor of random bits (0 and 1 for bool).
inline at::Tensor random_tensor(const std::vector<int64_t>& shape, at::ScalarType dtype,
                                std::mt19937_64& random) {
  at::Tensor tensor = at::empty(shape, dtype);
  auto* bytes = static_cast<unsigned char*>(tensor.mutable_data_ptr());
  for (size_t i = 0; i < tensor.nbytes(); ++i) {
    bytes[i] = static_cast<unsigned char>(dtype == at::kBool ? random() & 1U : random());
  }
  return tensor;
}

// Up to 12 tensors of up to 4 dimensions; sizes 0 and empty shapes occur.
inline Weights random_weights(std::mt19937_64& random) {
  Weights weights;
  for (uint64_t n = random() % 13; n > 0; --n) {
    std::vector<int64_t> shape(random() % 5);
    for (auto& size : shape) {
      size = static_cast<int64_t>(random() % 6);
    }
    std::string name = "layer." + std::to_string(random() % 100) + (random() % 4 == 0 ? "\"\\é/" : ".weight");
    weights.emplace(name, random_tensor(shape, stored_dtypes()[random() % stored_dtypes().size()], random));
  }
  return weights;
}

// Same names, shapes, dtypes and bits (NaN equals itself).
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return x.scalar_type() == y.scalar_type() && x.sizes() == y.sizes() &&
         (x.nbytes() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0);
}

inline bool same_bits(const Weights& a, const Weights& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && same_bits(x.second, y.second);
         });
}

}  // namespace fusegrid
