#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "models/architecture.h"
#include "store/task_pack.h"

namespace fusegrid {

// Says of pictures what they show: the frozen network of a pack, whose logits are those of all classes and behind them
// those of all styles.
class Judge {
 public:
  // ConfigError where the pack's is none for so many classes and styles.
  Judge(const PackJudge& judge, int64_t classes, int64_t styles);

  struct Verdict {
    at::Tensor classes, styles;  // int64 [n]
    at::Tensor features;         // float [n, features]
  };
  // pictures: float [n, channels, size, size] in [-1, 1], on any device.
  Verdict operator()(const at::Tensor& pictures) const;

 private:
  std::shared_ptr<const Architecture> architecture_;
  Weights tensors_;
  int64_t classes_, styles_;
};

}  // namespace fusegrid
