#include "fusion/passes/expert_order.h"

#include <numeric>
#include <set>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {

std::vector<size_t> expert_order(const std::string& method, const std::vector<double>& order,
                                 int64_t experts) {
  std::vector<size_t> positions(static_cast<size_t>(experts));
  std::iota(positions.begin(), positions.end(), size_t{0});
  if (order.empty()) {
    return positions;
  }
  const std::set<double> all(positions.begin(), positions.end());
  if (order.size() != positions.size() || std::set<double>(order.begin(), order.end()) != all) {
    std::vector<std::string> seen;
    for (const double position : order) {
      seen.push_back(number_text(position));
    }
    throw ConfigError("method '" + method + "' merges every expert once: 'order' is " + join(seen, ":") +
                      ", but must hold each of 0 to " + std::to_string(experts - 1) + " once");
  }
  return {order.begin(), order.end()};
}

}  // namespace fusegrid
