// Test-time adaptation: the inputs that AdaMerging, WEMoE and their relatives adapt on, and what they lower.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// The parameter `inputs` of every test-time method. On test inputs, as published, a method peeks at what it is scored
// on; on those of validation it does not, so a board with both shows what peeking is worth.
template <typename Visitor>
void describe_inputs(Visitor& v, std::string& inputs) {
  v.param("inputs", inputs, Choices{"test", "validation"}, "the unlabelled inputs to adapt on");
}
// The needs of a call: those of a card that declares Need::kTestInputs, with the inputs of its parameter instead.
std::set<Need> needs_of_inputs(const std::string& inputs, std::set<Need> of_card);

// Endless batches of the inputs to adapt on of each task: shuffled once per epoch by Philox on (seed, purpose, task).
class AdaptationStream {
 public:
  // Requires Need::kTestInputs or kValidationInputs. `batch`: inputs per task and step.
  AdaptationStream(const FusionInput& in, int64_t batch, const std::string& purpose);
  // Of some tasks, one or more.
  AdaptationStream(const FusionInput& in, const std::vector<std::string>& tasks, int64_t batch,
                   const std::string& purpose);
  // Of the next step, ready and task after task. output: of the model that adapts, which completes the inputs of tasks
  // whose answers are tokens (TaskKind::completed()); asked of no other.
  struct Step {
    Inputs inputs;  // of all tasks, of one pass
    std::vector<Inputs>
        by_task;  // the same of each: `batch` rows, or of examples with choices one for each of these
  };
  Step next(const Asker& output = {});
  int64_t batch() const { return batch_; }
  const std::vector<std::string>& tasks() const { return names_; }

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
  std::vector<std::string> names_;
  std::vector<Task> tasks_;
};

// sum over tasks of the mean entropy (nats) of the predictions: H = -sum p log p. features: of the inputs of the step,
// made by the weights `model` (which a readout of tokens reads). Source: Yang et al., "AdaMerging", ICLR 2024,
// arXiv:2310.02575, equation 5; of answers that are tokens the mean is over the rows of the model's own answers, which
// is our extension.
at::Tensor entropy_loss(const FusionInput& in, const Weights& model, const std::vector<Inputs>& by_task,
                        const at::Tensor& features);
// Of inputs of these tasks alone.
at::Tensor entropy_loss(const FusionInput& in, const std::vector<std::string>& tasks, const Weights& model,
                        const std::vector<Inputs>& by_task, const at::Tensor& features);

}  // namespace fusegrid
