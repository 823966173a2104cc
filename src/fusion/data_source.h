#pragma once

#include <cstdint>
#include <string>

#include "models/inputs.h"
#include "tasks/kind.h"

namespace fusegrid {

// Where a method's examples come from; FusionInput guards the access. Implemented over task packs by the
// worker, and over synthetic tensors by tests.
class DataSource {
 public:
  virtual ~DataSource() = default;
  // split: "train", "val" or "test". At most `count` examples from the front of the (shuffled) split, in the order of
  // the task pack; -1: all.
  virtual Examples examples(const std::string& task, const std::string& split, int64_t count) const = 0;
  // Unlabelled, of "val" or "test": all of them, under the shift of what is tested.
  virtual Inputs inputs_to_adapt_on(const std::string& task, const std::string& split) const {
    return examples(task, split, -1).inputs;
  }
  virtual const TaskKind& kind(const std::string& task) const = 0;
  // Identifies the training examples, for statistics that are kept.
  virtual std::string key() const = 0;
};

}  // namespace fusegrid
