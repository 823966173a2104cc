// Which entries stay when they are dropped at random, by the definition of fusion/passes/drop_rule.h and one by one.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "core/philox.h"
#include "support/test_zoo.h"

namespace fusegrid {

// The number of 40 bits of an entry, as a fraction.
inline double drop_number(uint64_t key, int64_t entry) {
  const uint32_t word =
      philox(key, 0, static_cast<uint64_t>(entry / 16))[static_cast<size_t>(entry % 16 / 4)];
  const uint64_t byte = word >> 8 * (entry % 4) & 0xffU;
  const uint64_t rest = philox(key, 1, static_cast<uint64_t>(entry / 4))[static_cast<size_t>(entry % 4)];
  return static_cast<double>(byte << 32 | rest) * 0x1p-40;
}

// bool [count] of the entries from `begin` on.
inline at::Tensor kept_by_definition(uint64_t key, double rate, int64_t begin, int64_t count) {
  at::Tensor kept = at::empty({count}, at::TensorOptions(at::kBool));
  for (int64_t i = 0; i < count; ++i) {
    kept.mutable_data_ptr<bool>()[i] = drop_number(key, begin + i) >= rate;
  }
  return kept;
}

// DARE's masks of each expert of a zoo.
inline std::vector<Weights> drop_masks(const TestZoo& zoo, double rate) {
  std::vector<Weights> masks(zoo.tasks.size());
  for (size_t i = 0; i < masks.size(); ++i) {
    const uint64_t key = derive_key(zoo.seed, "dare/" + zoo.tasks[i]);
    int64_t begin = 0;
    for (const auto& [name, tensor] : zoo.base) {
      masks[i][name] = kept_by_definition(key, rate, begin, tensor.numel()).view(tensor.sizes());
      begin += tensor.numel();
    }
  }
  return masks;
}

}  // namespace fusegrid
