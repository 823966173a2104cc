// Tasks whose score a command of the user's says: [task:NAME] of a job. They are in no pack, and nobody here sees their
// examples. What is behind the name is a binding of the cells of the task alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "core/user_command.h"
#include "metrics/metric.h"
#include "tasks/kind.h"

namespace fusegrid {

struct ExternalTask {
  UserCommand command = {};
  std::string metric = {};  // the primary one: of metric_registry(), or one that the command alone knows
  Better better = Better::kHigher;
  Unit unit = Unit::kFraction;
  std::string expert = {};      // that the task was made for; "": none
  bool has_validation = false;  // whether the command answers for the split "val", too
  int64_t limit = 0;            // examples of a split at most; 0: all
};
void to_json(nlohmann::json& json, const ExternalTask& task);
void from_json(const nlohmann::json& json, ExternalTask& task);

// Reads what a command answered about a split: JSON of the form
//
//   {"<task>": {"<metric>": value, ..., "count": examples, "outcomes": {"<metric>": [number of each example, ...]}}}
//
// with the task's metric among the numbers; "outcomes" may be left out, or have some of the metrics. An outcome is a
// number, true or false, whose mean is the metric, or of a metric of metric_registry() its row. Other members of the
// outer object are not looked at. Throws DataError, without a place, where something is missing or no finite number, a
// fraction lies outside of [0, 1], or outcomes do not give their metric.
Answers read_external_answer(const std::string& json, const std::string& name, const ExternalTask& task);

}  // namespace fusegrid
