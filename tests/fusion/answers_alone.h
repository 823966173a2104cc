// What models of tokens do, derived once more: one example at a time, without padding, batches and memory.
#pragma once

#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "models/network.h"
#include "support/token_task.h"

namespace fusegrid {

// Example i with the greedy answer of at most `longest` tokens, but for its last token, which is predicted alone.
inline Inputs answered_alone(const Network& network, const Weights& weights, const std::string& head,
                             const Inputs& inputs, int64_t i, int64_t longest) {
  const at::NoGradGuard no_grad;
  Inputs one;
  one.lengths = inputs.lengths.narrow(0, i, 1);
  one.tokens = inputs.tokens.narrow(0, i, 1).narrow(1, 0, one.lengths.item<int64_t>());
  std::vector<int64_t> said;
  const auto answer_with = [&] {
    one.answer = at::tensor(said, at::kLong).view({1, std::ssize(said)});
    one.answer_lengths = at::tensor({std::ssize(said)}, at::kLong);
  };
  while (std::ssize(said) < longest && (said.empty() || said.back() != kEnd)) {
    answer_with();
    said.push_back(network.output(weights, one, head)[0][-1].argmax().item<int64_t>());
  }
  said.pop_back();
  answer_with();
  return one;
}

}  // namespace fusegrid
