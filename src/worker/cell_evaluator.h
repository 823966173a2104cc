#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/cell.h"
#include "tasks/kind.h"
#include "worker/merge_maker.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

struct EvaluationSettings {
  int64_t batch = 256;  // examples per forward pass
  std::vector<std::string> splits{"val", "test"};
  int64_t validation = -1;  // examples of "val" at most: the first ones; -1: all
};

// Asks merges for the examples of cells. Validation examples are clean whatever the cell's shift is, so a merge answers
// those of a task once for all its cells.
class CellEvaluator {
 public:
  explicit CellEvaluator(EvaluationSettings settings) : settings_(std::move(settings)) {}

  bool sees_all() const { return settings_.validation < 0; }
  // By split. merge: the cell's.
  std::map<std::string, Answers> answers(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                         const std::function<void()>& tick);

 private:
  EvaluationSettings settings_;
  std::string merge_name_;                 // of what is kept
  std::map<std::string, Answers> on_val_;  // by task
};

}  // namespace fusegrid
