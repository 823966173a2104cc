// Statistics that forward and backward passes over training data make.
#include <algorithm>

#include "core/errors.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "fusion/whole_model/statistics.h"

namespace fusegrid {
namespace {

// The mean over tasks of a statistic of `examples` inputs, dealt evenly over them. `of_task` sees its share.
Weights mean_over(const std::vector<std::string>& tasks, int64_t examples,
                  const std::function<Weights(const std::string& task, int64_t count)>& of_task) {
  if (tasks.empty()) {
    throw ConfigError(
        "an expert that owns no task has no training inputs; leave it out, or use a method without data");
  }
  const auto share = std::max<int64_t>(1, examples / static_cast<int64_t>(tasks.size()));
  Weights mean = of_task(tasks.front(), share);
  for (size_t i = 1; i < tasks.size(); ++i) {
    for (const auto& [name, value] : of_task(tasks[i], share)) {
      mean.at(name).add_(value);
    }
  }
  for (auto& [name, value] : mean) {
    if (tasks.size() > 1) {
      value.div_(static_cast<double>(tasks.size()));
    }
  }
  return mean;
}

}  // namespace

std::string gram_key(int64_t examples, const std::string& tasks, const std::string& expert_on_data) {
  return "gram{examples=" + number_text(examples) + "}/" + tasks + "/" + expert_on_data;
}

std::string gradient_gram_key(int64_t examples, const std::string& tasks, const std::string& expert_on_data) {
  return "gradient_" + gram_key(examples, tasks, expert_on_data);
}

std::string fisher_key(int64_t examples, int64_t batch, const std::string& variant, const std::string& tasks,
                       const std::string& expert_on_data) {
  return "fisher{examples=" + number_text(examples) + ",batch=" + number_text(batch) + ",variant=" + variant +
         "}/" + tasks + "/" + expert_on_data;
}

std::shared_ptr<const Weights> FusionInput::gram(size_t index, int64_t examples) const {
  require(Need::kTrainInputs, "Gram matrices");
  const std::vector<std::string> tasks = tasks_of(index);
  const std::string key = gram_key(examples, join(tasks, "+"), expert_on_data(index));
  return context_.cache->get(key, StatisticsCache::Keep::kMemoryAndDisk, [&] {
    return mean_over(tasks, examples, [&](const std::string& task, int64_t count) {
      return gram_matrices(network(), *context_.experts[index], task, kind(task), train_inputs(task, count),
                           context_.tick);
    });
  });
}

std::shared_ptr<const Weights> FusionInput::fisher(size_t index, int64_t examples, int64_t batch,
                                                   const std::string& variant) const {
  require(Need::kTrainInputs,
          "Fisher information");  // here: a value from the cache is no less of their making
  require(Need::kGradients, "Fisher information");
  const std::vector<std::string> tasks = tasks_of(index);
  const std::string key = fisher_key(examples, batch, variant, join(tasks, "+"), expert_on_data(index));
  return context_.cache->get(key, StatisticsCache::Keep::kMemoryAndDisk, [&] {
    return mean_over(tasks, examples, [&](const std::string& task, int64_t count) {
      return fisher_diagonal(network(), *context_.experts[index], task, kind(task), train_inputs(task, count),
                             batch, variant, context_.tick);
    });
  });
}

std::shared_ptr<const Weights> FusionInput::gradient_gram(size_t index, int64_t examples) const {
  require(Need::kTrainInputs, "Gram matrices of gradients");
  require(Need::kGradients, "Gram matrices of gradients");
  const std::vector<std::string> tasks = tasks_of(index);
  const std::string key = gradient_gram_key(examples, join(tasks, "+"), expert_on_data(index));
  return context_.cache->get(key, StatisticsCache::Keep::kMemoryAndDisk, [&] {
    return mean_over(tasks, examples, [&](const std::string& task, int64_t count) {
      return gradient_gram_matrices(network(), *context_.experts[index], task, kind(task),
                                    train_inputs(task, count), context_.tick);
    });
  });
}

std::shared_ptr<const Weights> FusionInput::loss_gradients(size_t index, int64_t examples, int64_t power,
                                                           bool at_base) const {
  for (const Need need : {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients}) {
    require(need, "gradients of a loss");
  }
  if (at_base) {
    require(Need::kPretrained, "gradients of a loss at the base");
  }
  const std::vector<std::string> tasks = tasks_of(index);
  const std::string& model = at_base ? context_.base_key : context_.expert_keys.at(index);
  const std::string key = "loss_gradients{examples=" + number_text(examples) +
                          ",power=" + number_text(power) + "}/" + join(tasks, "+") + "/" +
                          on_data_key(model, network(), *context_.data);
  return context_.cache->get(key, StatisticsCache::Keep::kMemoryAndDisk, [&] {
    return mean_over(tasks, examples, [&](const std::string& task, int64_t count) {
      return fusegrid::loss_gradients(network(), at_base ? *context_.base : *context_.experts[index], task,
                                      kind(task), train_examples(task, count), power, context_.tick);
    });
  });
}

}  // namespace fusegrid
