#include "worker/cell_evaluator.h"

#include <optional>

#include "core/concatenate.h"
#include "fusion/method.h"
#include "models/feeder.h"
#include "tasks/label_scope.h"

namespace fusegrid {
namespace {

// The network as the merge answers under it.
Network with_readouts(Network network,
                      const std::map<std::string, std::shared_ptr<const Readout>>& readouts) {
  for (const auto& [head, readout] : readouts) {
    network.readouts[head] = readout;
  }
  return network;
}

// Whose heads answer a cell, its own task's first.
std::vector<std::string> heads_asked(const Cell& cell, const OpenZoo& zoo) {
  if (cell.shift != kAllLabels) {
    return {cell.task};
  }
  const Zoo& models = zoo.zoo();
  return tasks_of_all_labels(
      cell.task, models.tasks_of(models.experts_called(cell.experts)),
      [&](const std::string& task) -> const TaskInfo& { return zoo.data().task(task); });
}

}  // namespace

std::map<std::string, Answers> CellEvaluator::answers(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                                      const std::function<void()>& tick) {
  const Network network = with_readouts(zoo.network(cell.seed), merge.model.readouts);
  const PrecisionScope scope(network.precision);
  const Predictor& predictor = *merge.model.predictor;
  const CellData data(zoo.data(), cell.shift);
  const bool gets_task = method_registry().at(cell.method).card.needs_task_identity;
  const auto task = gets_task ? std::optional(cell.task) : std::nullopt;
  const auto answers_on = [&](const std::string& split, int64_t count,
                              const std::vector<std::string>& heads) {
    return data.kind(cell.task).answer(
        data.examples(cell.task, split, count),
        {.feed = feed_of(network),
         .output =
             [&](const Inputs& ready, Memory* memory) {
               if (heads.size() == 1) {
                 return predictor.output(network, ready, {cell.task, task, memory});
               }
               std::vector<at::Tensor> outputs;
               for (const std::string& head : heads) {
                 outputs.push_back(predictor.output(network, ready, {head, task, memory}));
               }
               return concatenate(outputs, 1);
             },
         .batch = settings_.batch,
         .on_batch = tick});
  };
  if (merge_name_ != merge.name) {
    on_val_.clear();
    merge_name_ = merge.name;
  }
  std::map<std::string, Answers> answers;
  for (const std::string& split : settings_.splits) {
    if (split == "val") {
      if (!on_val_.contains(cell.task)) {
        on_val_.emplace(cell.task, answers_on(split, settings_.validation, {cell.task}));
      }
      answers.emplace(split, on_val_.at(cell.task));
    } else {
      answers.emplace(split, answers_on(split, -1, heads_asked(cell, zoo)));
    }
  }
  return answers;
}

}  // namespace fusegrid
