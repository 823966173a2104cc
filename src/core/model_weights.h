#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusegrid {

// One weight per model, as a method's parameter `weights` gives them: all 1 where the list is empty. With
// `normalize` they are divided by their sum. Throws ConfigError where the list has another length than
// `models` or cannot be normalised.
std::vector<double> model_weights(const std::string& method, const std::vector<double>& given, bool normalize,
                                  int64_t models);

}  // namespace fusegrid
