// The description of a zoo that was built.
#include <algorithm>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "zoo/build.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

const Result* result_of(const std::vector<Result>& results, const std::string& name) {
  const auto it =
      std::find_if(results.begin(), results.end(), [&](const Result& result) { return result.name == name; });
  return it == results.end() ? nullptr : &*it;
}

const Result& valid_result(const std::vector<Result>& results, const std::string& name) {
  const Result* result = result_of(results, name);
  if (result == nullptr || result->status != Status::kValid) {
    throw ConfigError("the zoo is not complete: '" + name + "' " +
                      (result == nullptr ? "has no result" : "is " + to_string(result->status)) +
                      "; run the same command again");
  }
  return *result;
}

// The heads that the experts of a seed brought, in one file. Experts that were made with one head bring it both.
void gather_heads(const ZooPlan& plan, int64_t seed) {
  Weights heads;
  std::map<std::string, std::string> from;  // by tensor
  for (const ZooItem& item : model_items(plan, {seed})) {
    if (item.kind == ZooItem::Kind::kExpert) {
      const SafetensorsFile file(own_heads_file(plan, item));
      for (const auto& tensor : file.tensors()) {
        const auto [head, added] = heads.emplace(tensor.name, file.read(tensor.name));
        const std::string& other = from.emplace(tensor.name, item.expert).first->second;
        if (!added && !head->second.equal(file.read(tensor.name))) {
          throw ConfigError("experts that share a head must have been made with the same one, but '" +
                            tensor.name + "' of the experts '" + other + "' and '" + item.expert +
                            "' of seed " + std::to_string(seed) +
                            " differ; make all of them on one kind of device: give the new zoo a folder of "
                            "its own with --out, or remove this one");
        }
      }
    }
  }
  write_safetensors(heads_file(plan, seed), heads);
}

// Metrics are called "accuracy" of the task of an expert that is made for one, and else "accuracy/TASK".
void add_expert(Replicate& replicate, const ZooPlan& plan, const ZooItem& item, const Result& result) {
  const std::vector<std::string> tasks = tasks_of_expert(plan, item.expert);
  replicate.experts[item.expert] = item_folder(plan, item);
  replicate.digests["expert/" + item.expert] = result.facts.at("weights_sha256");
  for (const Metric& metric : result.metrics) {
    const auto parts = split(metric.name, '/');
    if (parts.size() == 1 && tasks.size() > 1) {
      continue;  // their mean
    }
    replicate.scores[item.expert + "/" + (parts.size() > 1 ? parts[1] : tasks.front()) + "/" + metric.split +
                     "/" + parts[0]] = metric.value;
  }
}

void add_multitask(Replicate& replicate, const ZooPlan& plan, const std::vector<Result>& results) {
  const ZooItem item{plan.name(), replicate.seed, ZooItem::Kind::kMultitask, ""};
  if (trained_tasks(plan).multitask.empty()) {
    return;
  }
  if (!plan.multitask &&
      (result_of(results, item.name()) == nullptr || !fs::exists(item_folder(plan, item)))) {
    return;
  }
  replicate.multitask = item_folder(plan, item);
  replicate.digests["multitask"] = valid_result(results, item.name()).facts.at("weights_sha256");
  if (fs::exists(own_heads_file(plan, item))) {
    replicate.multitask_heads = own_heads_file(plan, item);
  }
}

Replicate make_replicate(const ZooPlan& plan, int64_t seed, const std::vector<Result>& results) {
  Replicate replicate;
  replicate.seed = seed;
  const RecipeCard& card = recipe_of(plan).card;
  const Heads heads = card.heads;
  if (are_files(heads)) {
    replicate.heads = heads_file(plan, seed);
  }
  if (card.has_bases) {
    replicate.base = base_folder(plan, seed);
    const auto architecture = make_architecture(HfFolder(replicate.base).config());
    replicate.digests["base"] = digest(load_weights(*architecture, replicate.base, at::kCPU));
  }
  for (const ZooItem& item : model_items(plan, {seed})) {
    if (item.kind == ZooItem::Kind::kExpert) {
      add_expert(replicate, plan, item, valid_result(results, item.name()));
    }
  }
  add_multitask(replicate, plan, results);
  if (heads == Heads::kOfExperts) {
    gather_heads(plan, seed);
  }
  return replicate;
}

ZooExpert described_expert(const ZooPlan& plan, const std::string& name, const TaskPack& pack) {
  ZooExpert expert{name, plan.owned_by(tasks_of_expert(plan, name))};
  for (const std::string& task : tasks_of_expert(plan, name)) {
    const TaskInfo& info = pack.task(task);
    const auto seen = classes_of_expert(plan, name, info);
    if (seen.size() < info.class_names.size()) {
      expert.classes.emplace(task, seen);
    }
  }
  return expert;
}

}  // namespace

Zoo finish(const ZooPlan& plan, const std::vector<int64_t>& seeds, const std::vector<Result>& results) {
  ZooPlan here = plan;
  here.folder = fs::absolute(plan.folder).lexically_normal();
  const TaskPack pack(plan.pack);
  Zoo zoo;
  zoo.name = plan.name();
  zoo.recipe = plan.recipe;
  zoo.scale = plan.scale;
  zoo.suite = plan.suite;
  zoo.tasks = plan.all_tasks();
  zoo.pooling = recipe_of(plan).card.pooling;
  for (const std::string& expert : trained_tasks(plan).experts) {
    zoo.experts.push_back(described_expert(plan, expert, pack));
  }
  zoo.folder = here.folder;
  zoo.pack = fs::absolute(plan.pack);
  zoo.pack_sha256 = pack.sha256();
  zoo.tokenizer_sha256 = pack.tokens() != nullptr ? pack.tokens()->tokenizer_sha256 : "";
  for (const int64_t seed : seeds) {
    zoo.replicates.push_back(make_replicate(here, seed, results));
  }
  zoo.save();
  return Zoo::load(zoo.folder);
}

}  // namespace fusegrid
