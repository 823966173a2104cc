// How the models of a zoo are made: one base for each seed, an expert of each task fine-tuned from it, and a multi-task
// model. One file of zoo/recipes each, registering itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/lora_folder.h"
#include "core/params.h"
#include "core/registry.h"
#include "core/result.h"
#include "core/weights.h"
#include "models/network.h"
#include "store/pretraining_pool.h"
#include "store/task_pack.h"
#include "zoo/plan.h"
#include "zoo/training.h"

namespace fusegrid {

struct RecipeScale {
  std::string name;   // "small"
  std::string doc;    // what its models are, and what they are trained on
  std::string suite;  // key of suite_registry(): each of its tasks has an expert, its own or another's
  bool published_base = false;  // its bases are not trained here: whoever builds a zoo names one
};

enum class Heads {
  kOfBase,     // a base brings those of all tasks
  kOfExperts,  // each expert is trained with its own
  kTokens,     // none: models make tokens themselves
  kInside,     // models hold one, of the classes of all their tasks
};

inline bool are_files(Heads heads) {
  return heads == Heads::kOfBase || heads == Heads::kOfExperts;
}

struct RecipeCard {
  std::string name;                   // = file stem
  std::string doc;                    // in a sentence
  std::vector<RecipeScale> scales;    // smallest first
  Pooling pooling = Pooling::kFirst;  // of the features that its heads read
  Heads heads = Heads::kOfExperts;    // that its tasks are answered under
  bool makes_tokens = false;          // beside heads, models make the tokens of tasks whose answers these are
  bool has_bases = true;              // else its models start from nothing, with what chance gives each
  std::string bases = {};  // the recipe whose bases these are, at the scale of the same name; "": its own
  std::string pool = {};   // file name of what its own bases are pretrained on; "": on the pack alone
  std::string pool_maker = {};  // the command that makes it
};

// Which models a zoo of these tasks has.
struct TrainedTasks {
  std::vector<std::string> experts;    // by name: one that a task bears is made for it, another for all tasks
  std::vector<std::string> multitask;  // tasks of the multi-task model; none: there is no such model
};

// The first `count` tasks of a suite, or all where it has fewer.
std::vector<std::string> first_tasks(const std::vector<std::string>& tasks, int64_t count);

// What a base is made from. Nothing but the seed chooses random numbers.
struct BaseInput {
  const PretrainingPool* pool;  // null where the card names none
  const TaskPack& pack;
  const std::vector<std::string>& tasks;
  uint64_t seed = 0;
  at::Device device = at::kCPU;
  const OnStep& on_step;
};
struct MadeBase {
  Weights weights;
  nlohmann::json config;                     // config.json
  std::map<std::string, std::string> files;  // beside it, by name
  Weights heads = {};                        // a heads file of all tasks, where the base brings them
  std::vector<Metric> metrics = {};          // of its training
};

// What an expert or a multi-task model is made from.
struct ModelInput {
  ZooItem::Kind kind;
  const TaskPack& pack;
  const std::vector<std::string>& tasks;      // that it is trained on: one, or those of the multi-task model
  const std::vector<std::string>& all_tasks;  // of the zoo
  // The base's, with the heads that it brings; without an architecture where there is no base.
  const Network& network;
  const Weights& base;  // on the network's device
  uint64_t seed = 0;
  std::string expert = {};  // its name
  const OnStep& on_step;
};
struct MadeModel {
  Weights weights;
  std::optional<LoraAdapter> adapter = {};  // on the base, instead of weights
  // A heads file of its tasks, and of others that share them, where they were made with it; else those of the base
  // count. Experts that share a head bring the same bits.
  Weights heads = {};
  // Of one that starts from no base: config.json, and files beside it.
  nlohmann::json config = {};
  std::map<std::string, std::string> files = {};
};

// One option with its value.
struct RecipeOption {
  ParamInfo param;
  bool of_base = false;  // bases depend on it; experts and multi-task models depend on all
};

struct Recipe {
  using Overrides = nlohmann::json;  // an object: option -> value

  RecipeCard card;
  // All options of a scale, in the order of their declaration.
  std::function<std::vector<RecipeOption>(const RecipeScale&, const Overrides&)> options;
  // What its models read, all but the vocabulary; of scales whose bases are trained here.
  std::function<InputFormat(const RecipeScale&, const Overrides&)> reads;
  // ConfigError where tasks of a pack, or a pool beside it, are not what the recipe trains on.
  std::function<void(const RecipeScale&, const Overrides&, const TaskPack&,
                     const std::vector<std::string>& tasks)>
      check_pack;
  std::function<void(const RecipeScale&, const Overrides&, const PretrainingPool&, const TaskPack&)>
      check_pool;
  std::function<MadeBase(const RecipeScale&, const Overrides&, const BaseInput&)> make_base;
  std::function<MadeModel(const RecipeScale&, const Overrides&, const ModelInput&)> make_model;
  // Of a zoo with these tasks.
  std::function<TrainedTasks(const RecipeScale&, const Overrides&, const std::vector<std::string>& tasks)>
      trained;
  // Whether an expert has seen the examples of a class, of so many of a task.
  std::function<bool(const RecipeScale&, const Overrides&, const std::string& expert, int64_t label,
                     int64_t classes)>
      has_seen;
  // A rough estimate for one CPU core, to put long items first.
  std::function<double(const RecipeScale&, const Overrides&, ZooItem::Kind, int64_t tasks)> seconds;

  const RecipeScale& scale(const std::string& name) const;  // ConfigError listing what is known
};

Registry<Recipe>& recipe_registry();

// Of a plan's recipe and scale. ConfigError where there is none of that name, or where an override names no option of
// the scale or has a value that it does not accept.
const Recipe& recipe_of(const ZooPlan& plan);
std::vector<RecipeOption> options_of(const ZooPlan& plan);
// What its models are made of.
TrainedTasks trained_tasks(const ZooPlan& plan);
std::vector<std::string> tasks_of_expert(const ZooPlan& plan, const std::string& expert);
// The classes of a task that an expert of the plan has seen, in the task's order.
std::vector<std::string> classes_of_expert(const ZooPlan& plan, const std::string& expert,
                                           const TaskInfo& task);
// The plan that its bases are made by: itself, or where the recipe takes those of another one, that recipe's, with
// defaults.
ZooPlan plan_of_bases(const ZooPlan& plan);
// The recipe's name, the scale and every option: what the provenance of a model says.
nlohmann::json described_recipe(const ZooPlan& plan);

// The overrides that make a plan of this recipe and scale describe itself so, of what both know: {} where the recipe is
// not known.
nlohmann::json overrides_of(const nlohmann::json& described);

// An override's value as an option reads it.
ParamText text_of_overrides(const nlohmann::json& overrides);

// What a recipe does with its options, see Recipe. One without bases, or with those of another recipe, makes none and
// checks no pool; without `trained` there is an expert of each task, and the multi-task model is of all; without
// `has_seen` experts have seen all classes of their tasks.
template <typename Options>
struct RecipeFunctions {
  std::function<InputFormat(const Options&)> reads;
  std::function<void(const Options&, const TaskPack&, const std::vector<std::string>& tasks)> check_pack;
  std::function<void(const Options&, const PretrainingPool&, const TaskPack&)> check_pool;
  std::function<MadeBase(const Options&, const BaseInput&)> make_base;
  std::function<MadeModel(const Options&, const ModelInput&)> make_model;
  std::function<double(const Options&, ZooItem::Kind, int64_t tasks)> seconds;
  std::function<TrainedTasks(const Options&, const std::vector<std::string>& tasks)> trained = nullptr;
  std::function<bool(const Options&, const std::string& expert, int64_t label, int64_t classes)> has_seen =
      nullptr;
};

// Registers a recipe: `const RegisterRecipe<Options> registered{card, functions};` in its file's unnamed namespace.
// Options has the defaults of a scale, `static Options of_scale(const std::string&)`; declares the options that bases
// depend on by `template <typename V> void describe_base(V& v)` and the others by describe_models(); and where options
// constrain each other, has `void check() const`, which throws ConfigError.
template <typename Options>
struct RegisterRecipe {
  RegisterRecipe(const RecipeCard& card, const RecipeFunctions<Options>& functions) {
    const auto read = [name = card.name](const RecipeScale& scale, const nlohmann::json& overrides) {
      Options options = Options::of_scale(scale.name);
      ParamReader reader("recipe " + name + " at scale " + scale.name, text_of_overrides(overrides));
      if (!scale.published_base) {
        options.describe_base(reader);
      }
      options.describe_models(reader);
      reader.expect_all_read();
      if constexpr (requires { options.check(); }) {
        options.check();
      }
      return options;
    };
    Recipe recipe;
    recipe.card = card;
    recipe.options = [=](const RecipeScale& scale, const nlohmann::json& overrides) {
      Options options = read(scale, overrides);
      std::vector<RecipeOption> all;
      const auto add = [&all](const ParamLister& lister, bool of_base) {
        for (const ParamInfo& param : lister.params()) {
          all.push_back({param, of_base});
        }
      };
      ParamLister of_base, of_models;
      if (!scale.published_base) {
        options.describe_base(of_base);
      }
      options.describe_models(of_models);
      add(of_base, true);
      add(of_models, false);
      return all;
    };
    recipe.reads = [=](const RecipeScale& scale, const nlohmann::json& overrides) {
      return functions.reads(read(scale, overrides));
    };
    recipe.check_pack = [=](const RecipeScale& scale, const nlohmann::json& overrides, const TaskPack& pack,
                            const std::vector<std::string>& tasks) {
      functions.check_pack(read(scale, overrides), pack, tasks);
    };
    recipe.check_pool = [=](const RecipeScale& scale, const nlohmann::json& overrides,
                            const PretrainingPool& pool, const TaskPack& pack) {
      functions.check_pool(read(scale, overrides), pool, pack);
    };
    recipe.make_base = [=](const RecipeScale& scale, const nlohmann::json& overrides, const BaseInput& in) {
      return functions.make_base(read(scale, overrides), in);
    };
    recipe.make_model = [=](const RecipeScale& scale, const nlohmann::json& overrides, const ModelInput& in) {
      return functions.make_model(read(scale, overrides), in);
    };
    recipe.trained = [=](const RecipeScale& scale, const nlohmann::json& overrides,
                         const std::vector<std::string>& tasks) {
      return functions.trained == nullptr ? TrainedTasks{tasks, tasks}
                                          : functions.trained(read(scale, overrides), tasks);
    };
    recipe.has_seen = [=](const RecipeScale& scale, const nlohmann::json& overrides,
                          const std::string& expert, int64_t label, int64_t classes) {
      return functions.has_seen == nullptr ||
             functions.has_seen(read(scale, overrides), expert, label, classes);
    };
    recipe.seconds = [=](const RecipeScale& scale, const nlohmann::json& overrides, ZooItem::Kind kind,
                         int64_t tasks) { return functions.seconds(read(scale, overrides), kind, tasks); };
    recipe_registry().add(card.name, recipe);
  }
};

}  // namespace fusegrid
