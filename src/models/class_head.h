#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid {

// The head of classes that a network holds as parameters, so that whatever is done to its tensors is done to it. Its
// config says num_labels; 0 or none of it: heads are readouts outside the model.
struct ClassHead {
  static constexpr auto kName = "classifier";

  int64_t labels = 0;

  static ClassHead read(const ConfigReader& reader) { return {reader.count("num_labels", 0)}; }
  std::optional<OwnHead> own_head() const;
  void add_to(ParameterList& parameters, int64_t features) const;
  // Its columns are of the group whose channels the features are.
  void add_to(std::vector<AxisGroup>& groups) const;
};

// num_channels of a model of images: 3, also where it is not given, or 1. See channels_of().
int64_t read_channels(const ConfigReader& reader);

}  // namespace fusegrid
