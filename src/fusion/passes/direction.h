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

// "method{parameters}" with all parameters of `options` except `scale`, and the seed where the method is random: the
// key of the method's direction.
template <typename Options>
std::string direction_key(const MethodCard& card, const FusionInput& in, Options options) {
  ParamLister lister;
  options.describe(lister);
  std::string text;
  for (const ParamInfo& parameter : lister.params()) {
    if (parameter.name != "scale") {
      text += (text.empty() ? "" : ",") + parameter.name + "=" + parameter.value;
    }
  }
  return card.name + "{" + text + "}" + (card.random ? "/" + seed_key(in) : "");
}

// Registers a method theta = theta_0 + scale * direction, whose Options have the number `scale`, by its direction
// alone. `direction` makes a Field with the key that it is given; its lambda may refer to the input, but not to the
// options.
template <typename Options>
struct RegisterDirection {
  using Direction = Field (*)(const FusionInput& in, const Options& options, const std::string& key);

  RegisterDirection(const MethodCard& card, Direction direction) {
    const auto keyed = [=](const FusionInput& in, const Options& options) {
      return direction(in, options, direction_key(card, in, options));
    };
    const auto fuse = [=](const FusionInput& in, const Options& options) {
      return move_along(in, keyed(in, options), options.scale);
    };
    RegisterMethod<Options>(card, fuse, keyed);
  }
};

}  // namespace fusegrid
