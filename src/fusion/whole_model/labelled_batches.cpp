#include "fusion/whole_model/labelled_batches.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "core/philox.h"

namespace fusegrid {

Examples labelled_batch(const Network& network, const Examples& all, uint64_t key, int64_t batch,
                        int64_t step) {
  const int64_t count = all.inputs.size(), size = std::min(batch, count), each = count / size;
  const auto order = permutation(key, static_cast<uint64_t>(step / each), count);
  const at::Tensor places =
      at::tensor(at::ArrayRef<int64_t>(order.data() + step % each * size, static_cast<size_t>(size)));
  Examples chosen = all.at(places, all.inputs.select(places)).to(network.device);
  chosen.inputs = network.ready(chosen.inputs);
  return chosen;
}

namespace {

at::Tensor mean_loss(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples,
                     size_t index) {
  const std::string& task = in.tasks()[index];
  const TaskKind& kind = in.kind(task);
  const at::Tensor output = in.network().output(weights, kind.taught(examples[index]), task);
  return kind.losses(output, examples[index]).mean();
}

}  // namespace

double backward_of_loss(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples,
                        size_t task) {
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(in.network().precision);
  const at::Tensor loss = mean_loss(in, weights, examples, task);
  loss.backward();
  return loss.item<double>();
}

void backward_of_losses(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples,
                        const std::vector<double>& shares) {
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(in.network().precision);
  for (size_t i = 0; i < examples.size(); ++i) {
    (mean_loss(in, weights, examples, i) * shares[i]).backward();
  }
}

}  // namespace fusegrid
