#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

namespace fusegrid {

struct Examples {
  at::Tensor images;  // uint8 [examples, 3, size, size], in the order of the task pack
  at::Tensor labels;  // int64 [examples]; undefined where the caller may not see them
};

// Where a method's examples come from; FusionInput guards the access. Implemented over task packs by the
// worker, and over synthetic tensors by tests.
class DataSource {
 public:
  virtual ~DataSource() = default;
  // split: "train", "val" or "test". At most `count` examples from the front of the (shuffled) split; -1:
  // all.
  virtual Examples examples(const std::string& task, const std::string& split, int64_t count) const = 0;
  // Identifies the training examples, for statistics that are kept.
  virtual std::string key() const = 0;
};

}  // namespace fusegrid
