#include "core/model_weights.h"

#include <cmath>
#include <numeric>

#include "core/errors.h"

namespace fusegrid {

namespace {

void check_length(const std::string& method, const std::string& parameter, const std::vector<double>& numbers,
                  int64_t models) {
  if (static_cast<int64_t>(numbers.size()) != models) {
    throw ConfigError("parameter '" + parameter + "' of method '" + method +
                      "' must have one number per expert, but it has " + std::to_string(numbers.size()) +
                      " for " + std::to_string(models) + " experts");
  }
}

}  // namespace

std::vector<double> model_weights(const std::string& method, const std::vector<double>& given, bool normalize,
                                  int64_t models) {
  std::vector<double> weights = given.empty() ? std::vector<double>(static_cast<size_t>(models), 1.0) : given;
  check_length(method, "weights", weights, models);
  if (normalize) {
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    if (std::abs(sum) < 1e-12) {
      throw ConfigError("parameter 'weights' of method '" + method +
                        "' sums to zero and cannot be normalised; change it or set normalize=false");
    }
    for (double& weight : weights) {
      weight /= sum;
    }
  }
  return weights;
}

std::vector<double> number_of_each_model(const std::string& method, const std::string& parameter,
                                         const std::vector<double>& given, int64_t models) {
  if (given.size() == 1) {
    return std::vector<double>(static_cast<size_t>(models), given.front());
  }
  check_length(method, parameter, given, models);
  return given;
}

}  // namespace fusegrid
