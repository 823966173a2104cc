// Test-time adaptation: what AdaMerging, WEMoE and their relatives share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// Endless batches of the unlabelled test inputs of each task: shuffled once per epoch by Philox on (seed,
// purpose, task).
class TestStream {
 public:
  // Requires Need::kTestInputs. `batch`: inputs per task and step.
  TestStream(const FusionInput& in, int64_t batch, const std::string& purpose);
  // Of the next step, ready and task after task. output: of the model that adapts, which completes the inputs of tasks
  // whose answers are tokens (TaskKind::completed()); asked of no other.
  struct Step {
    Inputs inputs;  // of all tasks, of one pass
    std::vector<Inputs>
        by_task;  // the same of each: `batch` rows, or of examples with choices one for each of these
  };
  Step next(const Asker& output = {});
  int64_t batch() const { return batch_; }

 private:
  struct Task {
    const TaskKind& kind;
    Inputs inputs;  // as stored, wherever they are
    uint64_t key = 0;
    uint64_t epoch = 0;
    std::vector<int64_t> order;
    size_t position = 0;
  };
  Inputs next_of(Task& task);

  const Network& network_;
  int64_t batch_;
  std::vector<Task> tasks_;
};

// sum over tasks of the mean entropy (nats) of the predictions: H = -sum p log p. features: of the inputs of the step,
// made by the weights `model` (which a readout of tokens reads). Source: Yang et al., "AdaMerging", ICLR 2024,
// arXiv:2310.02575, equation 5; of answers that are tokens the mean is over the rows of the model's own answers, which
// is our extension.
at::Tensor entropy_loss(const FusionInput& in, const Weights& model, const std::vector<Inputs>& by_task,
                        const at::Tensor& features);

struct AdaptationOptions {
  double init = 0.3;
  double lr = 1e-3;
  int64_t steps = 1000;
  int64_t batch = 16;
  bool clamp = false;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("init", init, Range{-2, 2}, "initial coefficient of every task vector");
    v.param("lr", lr, Range{0, 10}, "learning rate of Adam");
    v.param("steps", steps, Range{0, 1e6}, "steps of Adam");
    v.param("batch", batch, Range{1, 4096}, "unlabelled test inputs per task and step");
    v.param("clamp", clamp, "keep the coefficients in [0, 1]; outside there is no gradient");
  }
};

enum class Granularity { kTask, kTensor };  // one coefficient per task, or per task and tensor

// AdaMerging: theta^l = theta_0^l + sum_i lambda_i^l tau_i^l with the lambda that minimise the entropy on the
// test stream.
//
// Source:  Yang et al., "AdaMerging: Adaptive Model Merging for Multi-Task Learning", ICLR 2024,
//          arXiv:2310.02575.
// Differs: one batch per task and step and no clamping by default, as FusionBench; the gradient of a coefficient
//          is the inner product of the merged weights' gradient with its task vector, from one backward pass of
//          all tasks. The entropy is computed from log-softmax, without the 1e-8 inside FusionBench's logarithm.
// Cost:    `steps` forward and backward passes of batch images per task.
FusedModel adapt_coefficients(const FusionInput& in, const AdaptationOptions& options,
                              Granularity granularity);
// The card of the method that adapts with this granularity. `coefficient`: as the formula writes it.
MethodCard adamerging_card(const std::string& name, const std::string& title, const std::string& coefficient);

}  // namespace fusegrid
