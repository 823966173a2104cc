#include "worker/memory_merge.h"

#include "core/errors.h"
#include "fusion/cell_merge.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/fusion_input.h"

namespace fusegrid {

FusedModel merge_in_memory(const Cell& cell, OpenZoo& zoo,
                           const std::vector<std::shared_ptr<const LoadedModel>>& models,
                           StatisticsCache& statistics, const std::function<void()>& tick) {
  static const Weights no_base;
  const Method& method = method_registry().at(cell.method);
  const ParamText parameters = parse_call(cell.method_text()).second;
  const MethodCard card = method.card_of(parameters);
  const CellData data(zoo.data(), cell.shift);
  FusionContext context;
  context.card = &card;
  context.network = &zoo.network(cell.seed);
  context.data = &data;
  context.cache = &statistics;
  context.expert_names = zoo.zoo().experts_called(cell.experts);
  context.owners = zoo.zoo().owners(context.expert_names);
  for (const std::string& task : zoo.zoo().tasks_of(context.expert_names)) {
    if (!context.owners.contains(task)) {
      context.shared_tasks.emplace(task, zoo.zoo().experts_for(task));
    }
  }
  if (card.needs.contains(Need::kClassesSeen)) {
    for (const std::string& name : context.expert_names) {
      const ZooExpert& expert = zoo.zoo().expert(name);
      for (const auto& [task, classes] : expert.classes) {
        context.classes_seen[name][task] = labels_seen(expert, zoo.data().task(task));
      }
    }
  }
  context.external_owners = zoo.external_owners(context.expert_names);
  context.seed = static_cast<uint64_t>(cell.seed);
  context.base = &no_base;
  context.tick = tick;
  const auto names = models_read(card, context.expert_names);
  FUSEGRID_ASSERT(names.size() == models.size(), cell.name());
  std::vector<const FactorsByName*> factors;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == kBaseModel) {
      context.base = &models[i]->weights;
      context.base_key = models[i]->key;
    } else if (names[i] == kMultitaskModel) {
      context.multitask = &models[i]->weights;
      context.multitask_readouts = zoo.multitask_readouts(cell.seed);
    } else {
      context.experts.push_back(&models[i]->weights);
      context.expert_keys.push_back(models[i]->key);
      factors.push_back(&models[i]->factors);
    }
  }
  MemoryEngine engine(*context.base, context.experts, models_key(context.base_key, context.expert_keys),
                      statistics, tick, factors);
  context.engine = &engine;
  return method.fuse(FusionInput(context), parameters);
}

}  // namespace fusegrid
