// What must hold before checkpoints are fused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/weights.h"

namespace fusegrid {

// "[2, 3]", for messages.
std::string shape_text(const std::vector<int64_t>& shape);

// An element that is NaN or infinite.
struct NonFinite {
  std::string tensor;
  int64_t index = 0;  // in C order
  std::string value;  // "nan", "inf", "-inf"; "not finite" of complex tensors
};
// The first one, in order of name and index; whole-number tensors have none. CPU tensors.
std::optional<NonFinite> find_non_finite(const Weights& weights);

// Throws DataError, which names the first such element, where `weights` of checkpoint `name` have one.
void check_finite(const Weights& weights, const std::string& name);

}  // namespace fusegrid
