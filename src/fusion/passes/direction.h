// How methods end: one direction, theta = theta_0 + scale * direction, or one model per task.
#pragma once

#include <string>
#include <vector>

#include "core/params.h"
#include "fusion/fusion_input.h"

namespace fusegrid {

// base + scale * direction, in one pass of the direction's grain. A sweep of scales shares the direction.
FusedModel move_along(const FusionInput& in, const Field& direction, double scale);

// One model per expert, in the order of the experts. `stored_parameters`: see FusedModel.
FusedModel models_of_tasks(const FusionInput& in, std::vector<Weights> models, double stored_parameters);

// What random methods must add to their keys: their numbers depend on the seed and on the names of the tasks.
std::string seed_key(const FusionInput& in);

// "method{parameters}" with all parameters of `options` except `scale`: the key of the method's direction.
template <typename Options>
std::string direction_key(const std::string& method, Options options) {
  ParamLister lister;
  options.describe(lister);
  std::string text;
  for (const ParamInfo& parameter : lister.params()) {
    if (parameter.name != "scale") {
      text += (text.empty() ? "" : ",") + parameter.name + "=" + parameter.value;
    }
  }
  return method + "{" + text + "}";
}

}  // namespace fusegrid
