#include "zoo/build.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/text.h"
#include "models/stored_parameters.h"
#include "store/task_pack.h"
#include "zoo/examples.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What the bits of a model depend on. No time and no host: the same model, the same file.
json provenance_of(const ZooPlan& plan, const ZooItem& item, const TaskPack& pack, at::Device device) {
  return {{"item", item.name()},
          {"recipe", described_recipe(plan)},
          {"seed", item.seed},
          {"device", at::DeviceTypeName(device.type(), /*lower_case=*/true)},
          {"threads", at::get_num_threads()},
          {"cpu_capability", at::get_cpu_capability()},
          {"libtorch", TORCH_VERSION},
          {"sources", {{"pack_sha256", pack.sha256()}}}};
}

void check_item(const ZooPlan& plan, const ZooItem& item) {
  const std::vector<std::string> experts = trained_tasks(plan).experts;
  const bool known = item.kind != ZooItem::Kind::kExpert ||
                     std::find(experts.begin(), experts.end(), item.expert) != experts.end();
  if (item.zoo != plan.name() || !known) {
    throw ConfigError("'" + item.name() + "' must be an item of zoo '" + plan.name() + "' with experts of " +
                      join(experts, ", "));
  }
  const bool starts_from_base = item.kind != ZooItem::Kind::kBase && recipe_of(plan).card.has_bases;
  if (starts_from_base && !fs::exists(base_folder(plan, item.seed))) {
    throw ConfigError("'" + item.name() + "' starts from a base that is not there: '" +
                      base_folder(plan, item.seed).string() + "'; make the bases first");
  }
}

// A model with what lies beside it, as it is written.
struct Written {
  Weights weights;
  std::optional<LoraAdapter> adapter;  // instead of weights
  json config;
  std::map<std::string, std::string> files;
  Weights heads;
  json provenance;
};

void write(const ZooPlan& plan, const ZooItem& item, Written model) {
  const fs::path folder = item_folder(plan, item);
  const fs::path heads = own_heads_file(plan, item);
  fs::create_directories(folder.parent_path());
  fs::remove_all(folder);  // of an attempt that died before its result was recorded
  if (!model.heads.empty()) {
    const std::string bytes = safetensors_bytes(model.heads);
    model.provenance["heads_sha256"] = sha256_hex(bytes);
    if (heads.parent_path() == folder) {
      model.files.emplace(heads.filename(), bytes);
    } else {
      write_safetensors(heads, model.heads);
    }
  }
  model.files["provenance.json"] = model.provenance.dump(2) + "\n";
  if (model.adapter) {
    const fs::path base = base_folder(plan, item.seed).lexically_relative(folder);
    save_lora_folder(folder, *model.adapter, base.string(), model.files);
    return;
  }
  save_hf_folder(folder, as_stored(*make_architecture(model.config), model.weights), model.config,
                 model.files);
}

Written train_base(const ZooPlan& of_zoo, const ZooItem& item, const TaskPack& pack, at::Device device,
                   std::vector<Metric>& metrics, const OnStep& on_step) {
  const ZooPlan plan = plan_of_bases(of_zoo);
  check_pool(plan);
  const std::optional<PretrainingPool> pool =
      plan.pool.empty() ? std::nullopt : std::optional<PretrainingPool>(plan.pool);
  const Recipe& recipe = recipe_of(plan);
  MadeBase made = recipe.make_base(recipe.scale(plan.scale), plan.overrides,
                                   {.pool = pool ? &*pool : nullptr,
                                    .pack = pack,
                                    .tasks = plan.tasks,
                                    .seed = static_cast<uint64_t>(item.seed),
                                    .device = device,
                                    .on_step = on_step});
  metrics = std::move(made.metrics);
  json provenance = provenance_of(plan, item, pack, device);
  if (pool) {
    provenance["sources"]["pool_sha256"] = sha256_of_file(plan.pool);
  }
  if (pool && pool->tokens() != nullptr) {
    provenance["sources"]["tokenizer_sha256"] = pool->tokens()->tokenizer_sha256;
  }
  return {std::move(made.weights), std::nullopt, made.config, made.files, std::move(made.heads), provenance};
}

// Of a model that lies in the zoo, the base where there is one, under the heads that it brings.
Network network_of(const ZooPlan& plan, const ZooItem& item, at::Device device) {
  const RecipeCard& card = recipe_of(plan).card;
  const fs::path model = card.has_bases ? base_folder(plan, item.seed) : item_folder(plan, item);
  Network network = load_network_without_readouts(model, device);
  if (card.heads != Heads::kOfExperts) {
    const fs::path heads = are_files(card.heads) ? heads_file(plan, item.seed) : fs::path();
    network.readouts = load_readouts(model, heads, plan.all_tasks(), card.pooling, device);
  }
  return network;
}

std::vector<std::string> tasks_of(const ZooPlan& plan, const ZooItem& item) {
  switch (item.kind) {
    case ZooItem::Kind::kBase:
      return plan.tasks;
    case ZooItem::Kind::kExpert:
      return tasks_of_expert(plan, item.expert);
    case ZooItem::Kind::kMultitask:
      break;
  }
  return trained_tasks(plan).multitask;
}

MadeModel make_model(const ZooPlan& plan, const ZooItem& item, const TaskPack& pack, const Network& network,
                     const Weights& base, const OnStep& on_step) {
  const Recipe& recipe = recipe_of(plan);
  return recipe.make_model(recipe.scale(plan.scale), plan.overrides,
                           {.kind = item.kind,
                            .pack = pack,
                            .tasks = tasks_of(plan, item),
                            .all_tasks = plan.tasks,
                            .network = network,
                            .base = base,
                            .seed = static_cast<uint64_t>(item.seed),
                            .expert = item.expert,
                            .on_step = on_step});
}

Written train_from_nothing(const ZooPlan& plan, const ZooItem& item, const TaskPack& pack, at::Device device,
                           const OnStep& on_step) {
  Network network;
  network.device = device;
  MadeModel made = make_model(plan, item, pack, network, {}, on_step);
  return {std::move(made.weights), std::nullopt,          std::move(made.config),
          std::move(made.files),   std::move(made.heads), provenance_of(plan, item, pack, device)};
}

Written train_from_base(const ZooPlan& plan, const ZooItem& item, const TaskPack& pack, at::Device device,
                        const OnStep& on_step) {
  check_base(plan, item.seed);
  const fs::path folder = base_folder(plan, item.seed);
  const Network network = network_of(plan, item, device);
  const Weights base = load_weights(*network.architecture, folder, device);
  MadeModel made = make_model(plan, item, pack, network, base, on_step);
  json provenance = provenance_of(plan, item, pack, device);
  provenance["sources"]["base_sha256"] = digest(base);
  auto files = made.adapter ? std::map<std::string, std::string>() : files_beside_weights(folder);
  return {std::move(made.weights), std::move(made.adapter), HfFolder(folder).config(),
          std::move(files),        std::move(made.heads),   provenance};
}

Written train_item(const ZooPlan& plan, const ZooItem& item, const TaskPack& pack, at::Device device,
                   std::vector<Metric>& metrics, const OnStep& on_step) {
  if (item.kind == ZooItem::Kind::kBase) {
    return train_base(plan, item, pack, device, metrics, on_step);
  }
  return recipe_of(plan).card.has_bases ? train_from_base(plan, item, pack, device, on_step)
                                        : train_from_nothing(plan, item, pack, device, on_step);
}

// Adds what the kinds of its tasks measure of a model that lies in the zoo.
void add_scores(Result& result, const ZooPlan& plan, const ZooItem& item, const TaskPack& pack,
                const Weights& weights, at::Device device, const OnStep& on_step) {
  const auto trained_on = tasks_of(plan, item);
  const auto tasks = plan.owned_by(trained_on);
  Network network = network_of(plan, item, device);
  const fs::path own = own_heads_file(plan, item);
  if (item.kind != ZooItem::Kind::kBase && fs::exists(own)) {
    network.readouts =
        load_readouts(item_folder(plan, item), own, tasks, recipe_of(plan).card.pooling, device);
  }
  if (network.readouts.empty()) {
    return;  // a base whose experts bring the heads
  }
  for (const std::string split : {"val", "test"}) {
    std::map<std::string, double> sums;
    std::map<std::string, size_t> counts;
    int64_t examples = 0;
    for (size_t i = 0; i < tasks.size(); ++i) {
      const std::string& task = tasks[i];
      const bool was_trained_on = i < trained_on.size();
      const Answers answers = evaluate(network, weights, task, *kind_of(pack.task(task), pack.tokens()),
                                       examples_of(pack.read(task, split), pack.tokens(), device), on_step);
      for (const auto& [metric, value] : answers.metrics) {
        if (trained_on.size() > 1 || !was_trained_on) {
          result.metrics.push_back({metric + "/" + task, split, value, answers.examples});
        }
        if (was_trained_on) {
          sums[metric] += value / static_cast<double>(trained_on.size());
          ++counts[metric];
        }
      }
      examples += was_trained_on ? answers.examples : 0;
      if (!answers.finite) {
        result.status = Status::kInvalid;
        result.reason = "outputs for task '" + task + "' on " + split + " are not finite: training diverged";
      }
    }
    for (const auto& [metric, mean] : sums) {
      if (counts[metric] == trained_on.size()) {  // it may be undefined for some
        result.metrics.push_back({metric, split, mean, examples});
      }
    }
  }
}

}  // namespace

double estimated_seconds(const ZooPlan& of_zoo, const ZooItem& item) {
  const ZooPlan plan = item.kind == ZooItem::Kind::kBase ? plan_of_bases(of_zoo) : of_zoo;
  const Recipe& recipe = recipe_of(plan);
  return recipe.seconds(recipe.scale(plan.scale), plan.overrides, item.kind,
                        static_cast<int64_t>(tasks_of(of_zoo, item).size()));
}

Result make_item(const ZooPlan& plan, const ZooItem& item, at::Device device, const OnStep& on_step) {
  check_item(plan, item);
  check_tasks(plan);
  const TaskPack pack(plan.pack);
  Result result;
  result.name = item.name();
  const Written model = train_item(plan, item, pack, device, result.metrics, on_step);
  write(plan, item, model);
  const Weights weights = model.adapter
                              ? load_weights(*make_architecture(model.config), base_folder(plan, item.seed),
                                             item_folder(plan, item), device)
                              : model.weights;
  result.facts["weights_sha256"] = digest(weights);
  for (const Metric& metric : result.metrics) {
    if (!std::isfinite(metric.value)) {
      result.status = Status::kInvalid;
      result.reason = metric.name + " is not finite: training diverged";
    }
  }
  add_scores(result, plan, item, pack, weights, device, on_step);
  return result;
}

}  // namespace fusegrid
