// Bases of a zoo that is built: where they come from, and whether pack, pool and bases fit each other.
#include <algorithm>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "core/files.h"
#include "models/stored_parameters.h"
#include "tasks/kind.h"
#include "zoo/build.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

bool changes_bases(const ZooPlan& plan) {
  const auto options = options_of(plan);
  return std::any_of(options.begin(), options.end(), [&](const RecipeOption& option) {
    return option.of_base && plan.overrides.contains(option.param.name);
  });
}

// Bases that come with the program.
void place_ours(const ZooPlan& plan, int64_t seed) {
  ZooPlan ours = plan_of_bases(plan);
  ours.folder = data_folder() / "zoo" / (ours.recipe + "-" + ours.scale);
  const fs::path target = base_folder(plan, seed);
  if (fs::exists(target) || changes_bases(plan) || !fs::exists(base_folder(ours, seed))) {
    return;
  }
  fs::create_directories(target.parent_path());
  if (recipe_of(plan).card.heads == Heads::kOfBase) {
    fs::copy_file(heads_file(ours, seed), heads_file(plan, seed), fs::copy_options::overwrite_existing);
  }
  TemporaryPath partial(target);
  fs::copy(base_folder(ours, seed), partial.path(), fs::copy_options::recursive);
  partial.publish();  // the base is complete or absent
}

// The parameters of the published base, under the names that its experts will have.
void place_published(const ZooPlan& plan, int64_t seed) {
  const fs::path target = base_folder(plan, seed);
  const HfFolder published = open_checkpoint(plan.published_base);
  const auto architecture = make_architecture(published.config());
  const Weights weights = load_weights(*architecture, plan.published_base, at::kCPU);
  const std::string digest_now = digest(weights);
  if (fs::exists(target)) {
    const std::string there = digest(load_weights(*architecture, target, at::kCPU));
    if (there != digest_now) {
      throw ConfigError("the base in '" + target.string() + "' (SHA-256 " + there + ") is not the one in '" +
                        plan.published_base.string() + "' (" + digest_now +
                        "); give the new zoo a folder of its own with --out, or remove this one");
    }
    return;
  }
  auto files = files_beside_weights(plan.published_base);
  const nlohmann::json provenance{{"item", base_items(plan, {seed}).front().name()},
                                  {"sources", {{"published_base_sha256", digest_now}}}};
  files["provenance.json"] = provenance.dump(2) + "\n";
  fs::create_directories(target.parent_path());
  save_hf_folder(target, as_stored(*architecture, weights), published.config(), files);
}

void check_head(const TaskInfo& task, const RecipeCard& card) {
  const bool makes_tokens = card.heads == Heads::kTokens;
  const bool asks_for_tokens = task_kind(task.kind).has_tokens();
  if (asks_for_tokens != makes_tokens && !(asks_for_tokens && card.makes_tokens)) {
    throw ConfigError("task '" + task.name + "' is of the kind " + task.kind + ", whose answers are " +
                      (makes_tokens ? "those of a head, but the recipe's models make tokens"
                                    : "tokens, but the recipe's models have heads") +
                      "; choose another pack or another recipe");
  }
}

}  // namespace

std::vector<int64_t> place_bases(const ZooPlan& plan, const std::vector<int64_t>& seeds) {
  const bool published = recipe_of(plan).scale(plan.scale).published_base;
  if (!recipe_of(plan).card.has_bases) {
    if (!plan.published_base.empty()) {
      throw ConfigError("models of the recipe " + plan.recipe + " start from no base; leave --base out");
    }
    return {};
  }
  if (published && plan.published_base.empty()) {
    throw ConfigError("experts of scale " + plan.scale +
                      " start from a published base; name its folder with --base");
  }
  if (!published && !plan.published_base.empty()) {
    throw ConfigError("bases of scale " + plan.scale +
                      " are trained or come with the program; leave --base out, or choose another scale");
  }
  std::vector<int64_t> missing;
  for (const int64_t seed : seeds) {
    published ? place_published(plan, seed) : place_ours(plan, seed);
    if (!fs::exists(base_folder(plan, seed))) {
      missing.push_back(seed);
    }
  }
  return missing;
}

void check_tasks(const ZooPlan& plan) {
  const Recipe& recipe = recipe_of(plan);
  const RecipeScale& scale = recipe.scale(plan.scale);
  const TaskPack pack(plan.pack);
  recipe.check_pack(scale, plan.overrides, pack, plan.tasks);
  const ZooPlan of_bases = plan_of_bases(plan);
  const Recipe& makes_bases = recipe_of(of_bases);
  for (const std::string& task : plan.all_tasks()) {
    check_head(pack.task(task), recipe.card);
    if (!scale.published_base) {
      check_readable(pack.task(task),
                     makes_bases.reads(makes_bases.scale(of_bases.scale), of_bases.overrides));
    }
  }
}

void check_pool(const ZooPlan& of_zoo) {
  const ZooPlan plan = plan_of_bases(of_zoo);
  const Recipe& recipe = recipe_of(plan);
  const RecipeScale& scale = recipe.scale(plan.scale);
  if (scale.published_base) {
    throw ConfigError("bases of scale " + plan.scale + " are published, not trained; name one with --base");
  }
  if (recipe.card.pool.empty()) {
    return;  // on the pack, which has been checked
  }
  if (!fs::exists(plan.pool)) {
    throw ConfigError("training a base needs the pretraining pool, but there is no '" + plan.pool.string() +
                      "'; make it with " + recipe.card.pool_maker + " or name it with --pool");
  }
  recipe.check_pool(scale, plan.overrides, PretrainingPool(plan.pool), TaskPack(plan.pack));
}

void check_base(const ZooPlan& plan, int64_t seed) {
  if (!recipe_of(plan).card.has_bases) {
    return;
  }
  const fs::path base = base_folder(plan, seed);
  const TaskPack pack(plan.pack);
  const InputFormat input = make_architecture(HfFolder(base).config())->input();
  for (const std::string& task : plan.all_tasks()) {
    check_readable(pack.task(task), input);
  }
  check_tokens(pack, input, tokenizer_digest(base));
}

}  // namespace fusegrid
