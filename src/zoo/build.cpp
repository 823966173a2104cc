#include "zoo/build.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/version.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/files.h"
#include "core/text.h"
#include "store/task_pack.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path seed_folder(const fs::path& zoo, int64_t seed) {
  return zoo / ("seed-" + std::to_string(seed));
}
fs::path base_folder(const ZooPlan& plan, int64_t seed) {
  return seed_folder(plan.folder, seed) / "base";
}
fs::path heads_file(const ZooPlan& plan, int64_t seed) {
  return seed_folder(plan.folder, seed) / "heads.safetensors";
}
LabelledTask read_task(const TaskPack& pack, const std::string& task) {
  const TaskInfo& info = pack.task(task);
  if (info.kind != "classify" || info.image_height == 0) {
    throw ConfigError("the recipe trains on classified images, but task '" + task + "' of '" +
                      pack.path().string() + "' is of the kind " + info.kind +
                      (info.image_height == 0 ? " with tokens" : " with images") +
                      "; choose other tasks or another pack");
  }
  const Split train = pack.read(task, "train");
  return {task, static_cast<int64_t>(info.class_names.size()), train.images, train.labels};
}

std::vector<LabelledTask> read_tasks(const TaskPack& pack, const std::vector<std::string>& names) {
  std::vector<LabelledTask> tasks;
  for (const std::string& name : names) {
    tasks.push_back(read_task(pack, name));
  }
  return tasks;
}

json preprocessor_config(const Recipe& recipe) {
  const json size{{"height", recipe.image_size}, {"width", recipe.image_size}};
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_resize", false},
          {"do_center_crop", false},
          {"do_convert_rgb", true},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255},
          {"do_normalize", true},
          {"image_mean", {0.5, 0.5, 0.5}},
          {"image_std", {0.5, 0.5, 0.5}},
          {"size", size}};
}

// What the bits of a model depend on. No time and no host: the same model, the same file.
json provenance(const ZooItem& item, const Recipe& recipe, at::Device device) {
  return {{"item", item.name()},
          {"recipe", recipe.to_json()},
          {"seed", item.seed},
          {"device", at::DeviceTypeName(device.type(), /*lower_case=*/true)},
          {"threads", at::get_num_threads()},
          {"cpu_capability", at::get_cpu_capability()},
          {"libtorch", TORCH_VERSION}};
}

void save_model(const ZooPlan& plan, const ZooItem& item, const Recipe& recipe, const Weights& weights,
                const json& origin) {
  const fs::path folder = item_folder(plan, item);
  fs::create_directories(folder.parent_path());
  fs::remove_all(folder);  // of an attempt that died before its result was recorded
  save_hf_folder(folder, weights, recipe.architecture_config(),
                 {{"preprocessor_config.json", preprocessor_config(recipe).dump(2) + "\n"},
                  {"provenance.json", origin.dump(2) + "\n"}});
}

void save_heads(const fs::path& path, const PretrainedBase& base) {
  Weights heads{{"logit_scale", at::scalar_tensor(base.logit_scale, at::kFloat)}};
  for (const auto& [task, rows] : base.rows) {
    heads.emplace(task + ".rows", rows.cpu());
  }
  fs::create_directories(path.parent_path());
  write_safetensors(path, heads);
}

// Adds accuracy and loss of `weights` on val and test of `tasks`.
void add_metrics(Result& result, const Network& network, const Weights& weights, const TaskPack& pack,
                 const std::vector<std::string>& tasks, const OnStep& on_step) {
  for (const std::string split : {"val", "test"}) {
    double accuracy = 0;
    double loss = 0;
    int64_t examples = 0;
    for (const std::string& task : tasks) {
      const Answers answers = evaluate(network, weights, task, pack.read(task, split), on_step);
      const auto count = static_cast<int64_t>(answers.correct.size());
      if (tasks.size() > 1) {
        result.metrics.push_back({"accuracy/" + task, split, answers.accuracy, count});
      }
      accuracy += answers.accuracy / static_cast<double>(tasks.size());
      loss += answers.loss / static_cast<double>(tasks.size());
      examples += count;
    }
    result.metrics.push_back({"accuracy", split, accuracy, examples});
    result.metrics.push_back({"loss", split, loss, examples});
    if (!std::isfinite(loss)) {
      result.status = Status::kInvalid;
      result.reason = "the loss on " + split + " is not finite: training diverged";
    }
  }
}

Weights train_base(const ZooPlan& plan, const ZooItem& item, const Recipe& recipe, const TaskPack& pack,
                   at::Device device, json& origin, const OnStep& on_step) {
  if (!fs::exists(plan.pool)) {
    throw ConfigError("pretraining a base needs the pool '" + plan.pool.string() +
                      "', which is not there; make it with tools/make_pretraining_pool.py");
  }
  origin["sources"]["pool_sha256"] = sha256_of_file(plan.pool);
  const PretrainedBase base =
      pretrain(recipe, PretrainingPool(plan.pool).read_images(), read_tasks(pack, plan.tasks),
               static_cast<uint64_t>(item.seed), device, on_step);
  save_heads(heads_file(plan, item.seed), base);
  origin["heads_sha256"] = sha256_of_file(heads_file(plan, item.seed));
  return base.weights;
}

Weights train_model(const ZooPlan& plan, const ZooItem& item, const Recipe& recipe, const TaskPack& pack,
                    const Network& network, json& origin, const OnStep& on_step) {
  const Weights base = load_weights(*network.architecture, base_folder(plan, item.seed), network.device);
  origin["sources"]["base_sha256"] = digest(base);
  const auto seed = static_cast<uint64_t>(item.seed);
  return item.kind == ZooItem::Kind::kExpert
             ? fine_tune(recipe, network, base, read_task(pack, item.task), seed, on_step)
             : train_multitask(recipe, network, base, read_tasks(pack, plan.tasks), seed, on_step);
}

void check_item(const ZooPlan& plan, const ZooItem& item) {
  const bool known = item.kind != ZooItem::Kind::kExpert ||
                     std::find(plan.tasks.begin(), plan.tasks.end(), item.task) != plan.tasks.end();
  if (item.zoo != plan.name() || !known) {
    throw ConfigError("'" + item.name() + "' must be an item of zoo '" + plan.name() + "' with tasks " +
                      join(plan.tasks, ", "));
  }
  if (item.kind != ZooItem::Kind::kBase && !fs::exists(base_folder(plan, item.seed))) {
    throw ConfigError("'" + item.name() + "' starts from a base that is not there: '" +
                      base_folder(plan, item.seed).string() + "'; make the bases first");
  }
}

const Result& valid_result(const std::vector<Result>& results, const std::string& name) {
  const auto it =
      std::find_if(results.begin(), results.end(), [&](const Result& result) { return result.name == name; });
  if (it == results.end() || it->status != Status::kValid) {
    throw ConfigError("the zoo is not complete: '" + name + "' " +
                      (it == results.end() ? "has no result" : "is " + to_string(it->status)) +
                      "; run the same command again");
  }
  return *it;
}

Replicate make_replicate(const ZooPlan& plan, int64_t seed, const std::vector<Result>& results) {
  Replicate replicate;
  replicate.seed = seed;
  replicate.base = base_folder(plan, seed);
  replicate.heads = heads_file(plan, seed);
  const auto architecture = make_architecture(HfFolder(replicate.base).config());
  replicate.digests["base"] = digest(load_weights(*architecture, replicate.base, at::kCPU));
  for (const ZooItem& item : model_items(plan, {seed})) {
    const Result& result = valid_result(results, item.name());
    if (item.kind == ZooItem::Kind::kMultitask) {
      replicate.multitask = item_folder(plan, item);
      replicate.digests["multitask"] = result.facts.at("weights_sha256");
      continue;
    }
    replicate.experts[item.task] = item_folder(plan, item);
    replicate.digests["expert/" + item.task] = result.facts.at("weights_sha256");
    for (const Metric& metric : result.metrics) {
      if (metric.name == "accuracy") {
        replicate.scores[item.task + "/" + metric.split] = metric.value;
      }
    }
  }
  return replicate;
}

}  // namespace

fs::path item_folder(const ZooPlan& plan, const ZooItem& item) {
  switch (item.kind) {
    case ZooItem::Kind::kBase:
      return base_folder(plan, item.seed);
    case ZooItem::Kind::kExpert:
      return seed_folder(plan.folder, item.seed) / "experts" / item.task;
    case ZooItem::Kind::kMultitask:
      break;
  }
  return seed_folder(plan.folder, item.seed) / "multitask";
}

bool concerns_experts_only(const std::string& number) {
  return number.starts_with("expert_") || number.starts_with("multitask_") || number == "max_shift";
}

Result make_item(const ZooPlan& plan, const ZooItem& item, at::Device device, const OnStep& on_step) {
  check_item(plan, item);
  const Recipe recipe = make_recipe(plan.scale, plan.overrides);
  const TaskPack pack(plan.pack);
  json origin = provenance(item, recipe, device);
  origin["sources"]["pack_sha256"] = pack.sha256();
  Result result;
  result.name = item.name();
  Weights weights;
  Network network;
  if (item.kind == ZooItem::Kind::kBase) {
    weights = train_base(plan, item, recipe, pack, device, origin, on_step);
    save_model(plan, item, recipe, weights, origin);
    network = load_network(base_folder(plan, item.seed), heads_file(plan, item.seed), plan.tasks, device);
  } else {
    network = load_network(base_folder(plan, item.seed), heads_file(plan, item.seed), plan.tasks, device);
    weights = train_model(plan, item, recipe, pack, network, origin, on_step);
    save_model(plan, item, recipe, weights, origin);
  }
  const bool one_task = item.kind == ZooItem::Kind::kExpert;
  add_metrics(result, network, weights, pack, one_task ? std::vector{item.task} : plan.tasks, on_step);
  result.facts["weights_sha256"] = digest(weights);
  return result;
}

namespace {

// True where the plan's overrides leave the recipe of the base alone.
bool changes_experts_only(const json& overrides) {
  return std::all_of(overrides.items().begin(), overrides.items().end(),
                     [](const auto& entry) { return concerns_experts_only(entry.key()); });
}

}  // namespace

std::vector<int64_t> place_bases(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  std::vector<int64_t> missing;
  for (const int64_t seed : seeds) {
    const fs::path ours = seed_folder(data_folder() / "zoo" / ("embedded-" + plan.scale), seed);
    const fs::path target = base_folder(plan, seed);
    const bool usable = changes_experts_only(plan.overrides) && fs::exists(ours / "base");
    if (!fs::exists(target) && usable) {
      fs::create_directories(target.parent_path());
      fs::copy_file(ours / "heads.safetensors", heads_file(plan, seed), fs::copy_options::overwrite_existing);
      TemporaryPath base(target);  // complete or absent
      fs::copy(ours / "base", base.path(), fs::copy_options::recursive);
      base.publish();
    }
    if (!fs::exists(target)) {
      missing.push_back(seed);
    }
  }
  return missing;
}

std::vector<ZooItem> base_items(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  std::vector<ZooItem> items;
  for (const int64_t seed : seeds) {
    items.push_back({plan.name(), seed, ZooItem::Kind::kBase, ""});
  }
  return items;
}

std::vector<ZooItem> model_items(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  std::vector<ZooItem> items;
  for (const int64_t seed : seeds) {
    for (const std::string& task : plan.tasks) {
      items.push_back({plan.name(), seed, ZooItem::Kind::kExpert, task});
    }
    items.push_back({plan.name(), seed, ZooItem::Kind::kMultitask, ""});
  }
  return items;
}

double estimated_seconds(const ZooPlan& plan, const ZooItem& item) {
  const Recipe recipe = make_recipe(plan.scale, plan.overrides);
  // measured: 2,000 images/s of the small scale (64 wide, 4 blocks); work grows with width^2 * blocks
  const double size = static_cast<double>(recipe.width * recipe.width * recipe.blocks) / (64.0 * 64.0 * 4.0);
  int64_t images = recipe.expert_steps * recipe.expert_batch;
  if (item.kind == ZooItem::Kind::kBase) {
    images = recipe.base_steps * recipe.base_batch;
  } else if (item.kind == ZooItem::Kind::kMultitask) {
    images = recipe.multitask_steps * recipe.multitask_batch * static_cast<int64_t>(plan.tasks.size());
  }
  return static_cast<double>(images) * size / 2000.0;
}

Zoo finish(const ZooPlan& plan, const std::vector<int64_t>& seeds, const std::vector<Result>& results) {
  ZooPlan here = plan;
  here.folder = fs::absolute(plan.folder).lexically_normal();
  Zoo zoo;
  zoo.name = plan.name();
  zoo.scale = plan.scale;
  zoo.suite = plan.suite;
  zoo.tasks = plan.tasks;
  zoo.folder = here.folder;
  zoo.pack = fs::absolute(plan.pack);
  zoo.pack_sha256 = sha256_of_file(plan.pack);
  for (const int64_t seed : seeds) {
    zoo.replicates.push_back(make_replicate(here, seed, results));
  }
  zoo.save();
  return Zoo::load(zoo.folder);
}

}  // namespace fusegrid
