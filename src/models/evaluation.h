#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/network.h"

namespace fusegrid {

// What a model answers to the examples of one split.
struct Answers {
  std::vector<uint16_t> predictions;  // predicted class of each example
  std::vector<uint8_t> correct;       // 1 where it equals the label
  double accuracy = 0;                // fraction, exact: correct / examples
  double loss = 0;                    // mean cross-entropy, nats
  bool finite = true;                 // false: some logit was NaN or infinite
};

// Asks `logits_of` (pixels [batch, 3, s, s] -> logits [batch, classes]) for all `images` (uint8 [n, 3, s, s],
// any device) in batches. The device is not waited for between batches. `on_batch` is called after each.
Answers answer(const Network& network, const at::Tensor& images, const at::Tensor& labels, int64_t batch,
               const std::function<at::Tensor(const at::Tensor& pixels)>& logits_of,
               const std::function<void()>& on_batch);

}  // namespace fusegrid
