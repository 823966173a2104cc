#include "fusion/cell_merge.h"

namespace fusegrid {

std::string merge_name(const Cell& cell) {
  const auto needs = method_registry().at(cell.method).needs(parse_call(cell.method_text()).second);
  const std::string name = cell.without_task();
  const bool sees_shift = needs.contains(Need::kTestInputs) || needs.contains(Need::kValidationInputs);
  return sees_shift ? name + "@" + cell.shift : name;
}

std::vector<std::string> models_read(const MethodCard& card, const std::vector<std::string>& experts) {
  std::vector<std::string> models;
  if (card.family == Family::kExternal) {
    return models;  // a command reads them itself
  }
  if (card.needs.contains(Need::kPretrained)) {
    models.emplace_back(kBaseModel);
  }
  if (card.needs.contains(Need::kMultitask)) {
    models.emplace_back(kMultitaskModel);
  }
  if (card.min_experts > 0) {  // else a reference row, which merges nothing
    for (const std::string& task : experts) {
      models.push_back(expert_model(task));
    }
  }
  return models;
}

std::string expert_model(const std::string& task) {
  return "expert/" + task;
}

}  // namespace fusegrid
