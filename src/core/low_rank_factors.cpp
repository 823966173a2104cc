#include "core/low_rank_factors.h"

#include <ATen/ops/full.h>

#include "core/weights.h"

namespace fusegrid {

std::string digest(const FactorsByName& factors) {
  Weights all;
  for (const auto& [name, of_tensor] : factors) {
    all.emplace(name + "/b", of_tensor.b);
    all.emplace(name + "/a", of_tensor.a);
    all.emplace(name + "/scale", at::full({}, of_tensor.scale, at::kDouble));
  }
  return digest(all);
}

}  // namespace fusegrid
