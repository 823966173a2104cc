#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

// The order in which a sequential method takes the experts: `order` lists their positions, counted from 0; empty:
// as given. ConfigError, naming `method`, where it is no permutation of 0 .. experts - 1.
std::vector<size_t> expert_order(const std::string& method, const std::vector<double>& order,
                                 int64_t experts);

}  // namespace fusegrid
