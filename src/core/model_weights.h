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

// A parameter that may differ by model: its one number for all of them, or one each. Throws ConfigError where the list
// has another length.
std::vector<double> number_of_each_model(const std::string& method, const std::string& parameter,
                                         const std::vector<double>& given, int64_t models);

}  // namespace fusegrid
