#include "fusion/whole_model/adaptation.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "core/concatenate.h"
#include "core/philox.h"

namespace fusegrid {

std::set<Need> needs_of_inputs(const std::string& inputs, std::set<Need> of_card) {
  if (inputs == "validation") {
    of_card.erase(Need::kTestInputs);
    of_card.insert(Need::kValidationInputs);
  }
  return of_card;
}

AdaptationStream::AdaptationStream(const FusionInput& in, int64_t batch, const std::string& purpose)
    : AdaptationStream(in, in.tasks(), batch, purpose) {}

AdaptationStream::AdaptationStream(const FusionInput& in, const std::vector<std::string>& tasks,
                                   int64_t batch, const std::string& purpose)
    : network_(in.network()), batch_(batch), names_(tasks) {
  for (const std::string& task : tasks) {
    tasks_.push_back(
        {in.kind(task), in.inputs_to_adapt_on(task), derive_key(in.seed(), purpose + "/" + task), 0, {}, 0});
  }
}

Inputs AdaptationStream::next_of(Task& task) {
  std::vector<int64_t> chosen;
  while (static_cast<int64_t>(chosen.size()) < batch_) {
    if (task.position == task.order.size()) {
      task.order = permutation(task.key, task.epoch++, task.inputs.size());
      task.position = 0;
    }
    chosen.push_back(task.order[task.position++]);
  }
  return task.inputs.select(at::tensor(chosen, at::kLong));
}

AdaptationStream::Step AdaptationStream::next(const Asker& output) {
  std::vector<Inputs> batches;
  for (Task& task : tasks_) {
    batches.push_back(next_of(task).to(network_.device));
  }
  Step step{network_.ready(concatenate_inputs(batches)), {}};
  bool are_completed = false;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const TaskKind& kind = tasks_[i].kind;
    Inputs of_task = step.inputs.rows(static_cast<int64_t>(i) * batch_, batch_);
    of_task.choices = batches[i].choices;
    of_task.choice_lengths = batches[i].choice_lengths;
    step.by_task.push_back(kind.has_tokens() ? kind.completed(of_task, output) : of_task);
    are_completed = are_completed || kind.has_tokens();
  }
  if (are_completed) {
    step.inputs = concatenate_inputs(step.by_task);
  }
  return step;
}

at::Tensor entropy_loss(const FusionInput& in, const Weights& model, const std::vector<Inputs>& by_task,
                        const at::Tensor& features) {
  return entropy_loss(in, in.tasks(), model, by_task, features);
}

at::Tensor entropy_loss(const FusionInput& in, const std::vector<std::string>& tasks, const Weights& model,
                        const std::vector<Inputs>& by_task, const at::Tensor& features) {
  at::Tensor loss;
  int64_t row = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const std::string& task = tasks[i];
    const int64_t count = by_task[i].size();
    const at::Tensor output = in.network().read(model, features.narrow(0, row, count), task);
    const at::Tensor entropy = mean_entropy(in.kind(task).log_probabilities(output, by_task[i]));
    loss = i == 0 ? entropy : loss + entropy;
    row += count;
  }
  return loss;
}

}  // namespace fusegrid
