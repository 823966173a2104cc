#include "coordinator/cost_model.h"

#include <cmath>

namespace fusegrid {
namespace {

constexpr double kWeightOfNewest = 0.3;

}  // namespace

void CostModel::observe(const std::string& key, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) {
    return;
  }
  const auto [entry, first] = means_.emplace(key, seconds);
  if (!first) {
    entry->second += kWeightOfNewest * (seconds - entry->second);
  }
}

double CostModel::estimate(const std::string& key, double prior) const {
  const auto found = means_.find(key);
  return found == means_.end() ? prior : found->second;
}

}  // namespace fusegrid
