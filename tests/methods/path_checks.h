// What the methods that train points between models are compared with.
#pragma once

#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>

#include "core/philox.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid {

// The loss of a model on the labelled batches of a step, its mean over the tasks.
inline at::Tensor loss_of_batch(const TestZoo& zoo, const Weights& weights, const std::string& purpose,
                                int64_t batch, int64_t step) {
  at::Tensor sum;
  for (const std::string& task : zoo.tasks) {
    const Examples all = zoo.data.examples(task, "train", -1);
    const int64_t each = all.inputs.size() / batch;
    const auto order = permutation(derive_key(zoo.seed, purpose + "/batches/" + task),
                                   static_cast<uint64_t>(step / each), all.inputs.size());
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < batch; ++i) {
      chosen.push_back(order[static_cast<size_t>(step % each * batch + i)]);
    }
    const at::Tensor places = at::tensor(chosen);
    const at::Tensor logits =
        zoo.network->output(weights, zoo.network->ready(all.inputs.select(places)), task);
    const at::Tensor loss = at::cross_entropy_loss(logits, all.labels.index_select(0, places));
    sum = sum.defined() ? sum + loss : loss;
  }
  return sum / static_cast<double>(zoo.tasks.size());
}

}  // namespace fusegrid
