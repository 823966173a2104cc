#include "worker/cell_evaluator.h"

#include <optional>

#include "fusion/method.h"

namespace fusegrid {

std::map<std::string, Answers> CellEvaluator::answers(const Cell& cell, const Merge& merge, OpenZoo& zoo,
                                                      const std::function<void()>& tick) {
  const Network& network = zoo.network(cell.seed);
  const CellData data(zoo.data(), cell.shift);
  const bool gets_task = method_registry().at(cell.method).card.needs_task_identity;
  const auto task = gets_task ? std::optional(cell.task) : std::nullopt;
  const auto answers_on = [&](const std::string& split) {
    const Examples examples = data.examples(cell.task, split, -1);
    const auto logits = [&](const at::Tensor& pixels) {
      return merge.model.predictor->logits(network, pixels, cell.task, task);
    };
    return answer(network, examples.images, examples.labels, batch_, logits, tick);
  };
  if (merge_name_ != merge.name) {
    on_val_.clear();
    merge_name_ = merge.name;
  }
  auto on_val = on_val_.find(cell.task);
  if (on_val == on_val_.end()) {
    on_val = on_val_.emplace(cell.task, answers_on("val")).first;
  }
  return {{"val", on_val->second}, {"test", answers_on("test")}};
}

}  // namespace fusegrid
