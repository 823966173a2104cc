#include "fusion/passes/direction.h"

#include "core/text.h"

namespace fusegrid {

FusedModel move_along(const FusionInput& in, const Field& direction, double scale) {
  const auto moved = [&](const Slice& slice) {
    return add_scaled(slice.base_view(), slice[direction], scale);
  };
  return one_model(direction.whole_tensors ? in.map_tensors(moved) : in.map_elements(moved));
}

FusedModel models_of_tasks(const FusionInput& in, std::vector<Weights> models, double stored_parameters) {
  std::map<std::string, Weights> by_expert;
  for (size_t i = 0; i < models.size(); ++i) {
    by_expert.emplace(in.expert_names()[i], std::move(models[i]));
  }
  return model_per_task(std::move(by_expert), in.owners(), stored_parameters);
}

std::string seed_key(const FusionInput& in) {
  return "seed=" + std::to_string(in.seed()) + ",tasks=" + join(in.expert_names(), "+");
}

}  // namespace fusegrid
