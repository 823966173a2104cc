#include "models/class_head.h"

namespace fusegrid {

std::optional<OwnHead> ClassHead::own_head() const {
  if (labels == 0) {
    return std::nullopt;
  }
  const Layer head{std::string(kName)};
  return OwnHead{.weight = head.weight, .bias = head.bias, .pooling = Pooling::kMean};
}

void ClassHead::add_to(ParameterList& parameters, int64_t features) const {
  if (labels > 0) {
    parameters.add(Layer{std::string(kName)}, {labels, features});
  }
}

void ClassHead::add_to(std::vector<AxisGroup>& groups) const {
  for (AxisGroup& group : groups) {
    if (labels > 0 && group.features) {
      group.axes.push_back({Layer{std::string(kName)}.weight, 1, false});
    }
  }
}

int64_t read_channels(const ConfigReader& reader) {
  const int64_t channels = reader.size("num_channels", 3);
  reader.require(channels == 3 || channels == 1, "num_channels", "3, or 1 for the mean of the three");
  return channels;
}

}  // namespace fusegrid
