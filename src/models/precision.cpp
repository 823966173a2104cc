#include "models/precision.h"

#include <algorithm>

#include <ATen/Context.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

void allow_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}

}  // namespace

std::string to_string(Precision precision) {
  return precision_names().at(static_cast<size_t>(precision));
}

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names{"fp32", "tf32", "bf16"};
  return names;
}

Precision parse_precision(const std::string& name) {
  const auto& names = precision_names();
  const auto found = std::find(names.begin(), names.end(), name);
  FUSEGRID_ASSERT(found != names.end(), "precision " + name);
  return static_cast<Precision>(found - names.begin());
}

PrecisionScope::PrecisionScope(Precision precision) {
  allow_tf32(precision == Precision::kTf32);
}

PrecisionScope::~PrecisionScope() {
  allow_tf32(false);
}

bool are_held_in(const Weights& weights, Precision precision) {
  return precision != Precision::kBf16 || std::none_of(weights.begin(), weights.end(), [](const auto& entry) {
           return entry.second.scalar_type() == at::kFloat;
         });
}

Weights rounded(const Weights& weights, Precision precision) {
  if (are_held_in(weights, precision)) {
    return weights;
  }
  Weights held;
  for (const auto& [name, tensor] : weights) {
    held.emplace(name, tensor.is_floating_point() ? tensor.to(at::kBFloat16) : tensor);
  }
  return held;
}

void use_fp32() {
  allow_tf32(false);
}

}  // namespace fusegrid
