#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// A change of a matrix [rows, columns] as a product: scale * b a.
struct LowRankFactors {
  at::Tensor b;  // [rows, r]
  at::Tensor a;  // [r, columns]
  double scale = 1;
};

// Those of a model, by tensor.
using FactorsByName = std::map<std::string, LowRankFactors>;

// Hexadecimal digest of all of them, as that of weights.
std::string digest(const FactorsByName& factors);

}  // namespace fusegrid
