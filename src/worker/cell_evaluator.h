#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/cell.h"
#include "models/evaluation.h"
#include "worker/merge_maker.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

// Asks merges for the examples of cells. Validation examples are clean whatever the cell's shift is, so a merge answers
// those of a task once for all its cells.
class CellEvaluator {
 public:
  explicit CellEvaluator(int64_t batch) : batch_(batch) {}

  // By split: "val" and "test". merge: the cell's.
  std::map<std::string, Answers> answers(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                         const std::function<void()>& tick);

 private:
  int64_t batch_;
  std::string merge_name_;                 // of what is kept
  std::map<std::string, Answers> on_val_;  // by task
};

}  // namespace fusegrid
