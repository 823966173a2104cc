#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/low_rank_factors.h"
#include "core/weights.h"
#include "models/network.h"
#include "store/task_pack.h"

namespace fusegrid {

// One copy of a zoo's models, trained with its own seed. `seed` of a cell chooses it. Experts and the multi-task model
// are HuggingFace folders, or PEFT adapters on the base, which stand for the dense models that they make of it.
struct Replicate {
  int64_t seed = 0;
  std::filesystem::path base;  // HuggingFace folder; empty where the experts have none in common
  std::filesystem::path
      heads;  // a heads file, see load_readouts(); empty where models make tokens themselves
  std::map<std::string, std::filesystem::path> experts;  // by name
  std::optional<std::filesystem::path> multitask;
  std::optional<std::filesystem::path> multitask_heads;  // where it was trained with heads of its own
  std::map<std::string, std::string>
      digests;  // "base", "expert/<name>", "multitask" -> digest of its float32 parameters
  std::map<std::string, double> scores;  // "<expert>/<task>/<split>/<metric>" -> what it was when it was made

  // The folder whose config.json says what all its models are: the base's, or the first expert's.
  const std::filesystem::path& layout() const { return base.empty() ? experts.begin()->second : base; }
};

// Of recorded scores, those whose names begin with `prefix`, by the rest of their names.
std::map<std::string, double> scores_below(const std::map<std::string, double>& scores,
                                           const std::string& prefix);

// A trained model, and the tasks that it was made for. What one expert of the zoo alone was made for, it owns.
struct ZooExpert {
  std::string name;
  std::vector<std::string> tasks;
  // Of tasks of which it has seen some classes alone, these: names of classes by task. It has seen all of others.
  std::map<std::string, std::vector<std::string>> classes = {};
};

// The labels of the classes of a task that an expert has seen, in ascending order. ConfigError where `classes` names
// one that the task has not.
std::vector<int64_t> labels_seen(const ZooExpert& expert, const TaskInfo& task);

// Experts at one model scale, mostly of one base, described by ZOO/zoo.json (docs/results_format.md, "Zoos").
struct Zoo {
  std::string name;         // folder name: "embedded-small"
  std::string recipe = {};  // that it was built by: key of the recipe registry; "" of an imported one
  std::string scale;        // "small", "medium", "large", "vit-b-32", ...
  std::string suite;        // key of the suite registry: what its tasks are; "" where it has none
  std::filesystem::path folder;
  // Task pack, found beside the zoo or in data_folder(); empty where the zoo has no tasks, and commands of jobs answer.
  std::filesystem::path pack;
  std::string pack_sha256;
  std::string tokenizer_sha256;    // of the tokens that the models were trained with; "" where they read none
  std::vector<std::string> tasks;  // what can be evaluated, in the order of tables
  std::vector<ZooExpert> experts;  // in their order: "experts=3" means the first three
  Pooling pooling = Pooling::kFirst;  // of the features that heads read; kNone where there are none
  std::vector<Replicate> replicates;  // sorted by seed
  bool imported = false;  // by import_zoo(): nothing is known of how its one replicate was trained

  // Throws ConfigError (not there: lists the zoos that are; a name that is none) or DataError (damaged).
  static Zoo load(const std::filesystem::path& folder);
  static Zoo read(const std::filesystem::path& folder);  // the same where files that it names may be missing
  void save() const;                                     // atomically writes folder/zoo.json

  // The replicate that a cell's seed chooses: the one that was trained with it. ConfigError where there is none: the
  // same models under another seed would look like an independent repetition. That of an imported zoo serves every
  // seed, which then only keys the method's random numbers.
  const Replicate& replicate(int64_t seed) const;
  std::vector<std::string> expert_names() const;
  const ZooExpert& expert(const std::string& name) const;  // one of them
  // The experts that the text of Cell::experts means ("3", "mnist+fashion"); ConfigError where it means nothing.
  std::vector<std::string> experts_called(const std::string& text) const;
  // The experts that were made for a task, in the zoo's order.
  std::vector<std::string> experts_for(const std::string& task) const;
  // The tasks that these experts own, each with its expert.
  std::map<std::string, std::string> owners(const std::vector<std::string>& names) const;
  // The tasks that these experts were made for, in the zoo's order.
  std::vector<std::string> tasks_of(const std::vector<std::string>& names) const;
};

// Where zoos are looked for by name: $FUSEGRID_ZOOS, else ./zoos. And the program's read-only data (task
// packs, trained bases): $FUSEGRID_DATA, else <prefix>/share/fusegrid of an installed program, else data/ of
// the source tree.
std::filesystem::path zoos_folder();
std::filesystem::path data_folder();
// Where tools put what they download and make: $FUSEGRID_CACHE, else fusegrid in $XDG_CACHE_HOME or ~/.cache.
std::filesystem::path cache_folder();
Zoo find_zoo(const std::string& name_or_folder);
std::vector<std::string> list_zoos();

// The models that a replicate has: "base", "expert/<name>" in order of name, "multitask".
std::vector<std::string> models_of(const Replicate& replicate);
// The folder of a replicate's "base", "expert/<name>" or "multitask". ConfigError where the zoo has no such model.
std::filesystem::path model_folder(const Zoo& zoo, const Replicate& replicate, const std::string& model);

// A model as it is used: float32, read and digested once. Loading checks layout, NaN/Inf and, where recorded, digest.
// Tensors that are no parameters of the architecture (a text tower, position ids) are left alone.
struct LoadedModel {
  Weights weights;
  std::string digest;
  FactorsByName factors = {};  // of an adapter, on the device of the weights
  std::string key;             // says everything that a fusion may depend on: model_key()
};
// Some models of a replicate, in their order, read by several threads at once (reading_threads()), each of which holds
// a tensor besides. models: as for model_folder(). Throws ConfigError where there is no such model or it does not fit
// the architecture, DataError where a file is damaged, has NaN or Inf, or is not the one that zoo.json recorded: of the
// first model of `models` with a fault.
std::vector<LoadedModel> load_models(const Architecture& architecture, const Zoo& zoo,
                                     const Replicate& replicate, const std::vector<std::string>& models,
                                     at::Device device);

// A whole replicate: for whoever wants all of it at once.
struct LoadedReplicate {
  Network network;  // with the heads of all tasks of the zoo
  Weights base;
  std::map<std::string, Weights> experts;
  std::optional<Weights> multitask;
};
// Throws as load_models().
LoadedReplicate load_replicate(const Zoo& zoo, const Replicate& replicate,
                               const std::vector<std::string>& experts, bool with_multitask,
                               at::Device device);

// Checks a replicate's files without reading weights: headers, names, shapes and dtypes of all its models, and the
// heads. Throws as load_models(), which also finds NaN and other bytes than the recorded ones.
void check_layouts(const Zoo& zoo, const Replicate& replicate);
// The same of one folder, whether or not it is the zoo's.
void check_layout(const Architecture& architecture, const Replicate& replicate,
                  const std::filesystem::path& folder);

// The digest of the float32 parameters of one model of a replicate, read a tensor at a time. Throws as load_models()
// where they have NaN or Inf, or do not fit the architecture.
std::string model_digest(const Architecture& architecture, const Replicate& replicate,
                         const std::filesystem::path& folder);
// The digest of a model's parameters, which is not computed where it is recorded, and of an adapter that of its factors
// besides: other factors can make the same parameters.
std::string model_key(const Architecture& architecture, const Zoo& zoo, const Replicate& replicate,
                      const std::string& model);
// DataError where it is not the one that zoo.json recorded. model: "base", "expert/<name>" or "multitask".
void check_model(const Architecture& architecture, const Replicate& replicate, const std::string& model,
                 const std::filesystem::path& folder);

// The parameters of a checkpoint, or of an adapter on `base`.
Weights load_weights(const Architecture& architecture, const std::filesystem::path& base,
                     const std::filesystem::path& folder, at::Device device);

// The parts: what surrounds the weights, with the readouts of all tasks of the zoo or without any, and the parameters
// of one checkpoint folder. Where the zoo has no tasks, models may be of a family that nobody here knows
// (models/unknown_family.h).
Network load_network(const Zoo& zoo, const Replicate& replicate, at::Device device);
Network load_network_without_readouts(const std::filesystem::path& base, at::Device device);
// Of the heads file that a network's model was made with: by task, either <task>.rows [classes, embedding size] of unit
// length with one logit_scale (a log) for all, or <task>.weight [outputs, features] and <task>.bias [outputs], or the
// tensors of a decoder (models/dense_readout.h) below <task>. heads: empty where the models hold their own, which all
// tasks then ask for.
std::map<std::string, std::shared_ptr<const Readout>> load_readouts(const std::filesystem::path& base,
                                                                    const std::filesystem::path& heads,
                                                                    const std::vector<std::string>& tasks,
                                                                    Pooling pooling, at::Device device);
Weights load_weights(const Architecture& architecture, const std::filesystem::path& folder,
                     at::Device device);
// The tensors of a heads file that are of these tasks: a heads file of them alone.
Weights heads_of(const std::filesystem::path& heads, const std::vector<std::string>& tasks);

// Tokens of a task's longest row and of its longest answer together, of choices those of one example; 0 where its
// inputs are images.
int64_t longest_with_answer(const TaskInfo& task);

// ConfigError where models that read `input` cannot read the task's inputs: images of another size, rows longer than
// there are positions, of decoders with their answers.
void check_readable(const TaskInfo& task, const InputFormat& input);

// ConfigError where ids of a pack are not those that models of this input were trained with: ids mean nothing under
// another tokenizer. tokenizer_sha256: the models'; "" where it is not known.
void check_tokens(const TaskPack& pack, const InputFormat& input, const std::string& tokenizer_sha256);

// Reads the zoo's pack again, if it has one, for models with this network. DataError where it is not the recorded one;
// ConfigError where the models cannot read a task, or its head has not the outputs that the task asks for.
void check_pack(const Zoo& zoo, const Network& network);

// Reads everything again: the pack's and every model's digest, layouts, NaN, the pack's image size and
// classes. Returns one line for each thing that is wrong; empty: the zoo is sound.
std::vector<std::string> verify(const Zoo& zoo);

// Describes existing HuggingFace folders as a zoo with one replicate and writes `folder`/zoo.json with their
// digests. Nothing is copied; the models stay where they are. Throws as load_models(), and ConfigError where names are
// none or a zoo is there that is not to be replaced.
struct ImportRequest {
  std::filesystem::path folder;  // of the new zoo; its name is the zoo's
  std::string scale;
  std::string suite;
  std::filesystem::path base;
  std::vector<std::pair<std::string, std::filesystem::path>> experts;  // task (or name), folder or none
  std::filesystem::path heads;  // empty where the models make tokens themselves
  Pooling pooling = Pooling::kFirst;
  std::filesystem::path pack;  // empty: none, and experts are no tasks
  bool replace = false;        // a zoo that is there
};
Zoo import_zoo(const ImportRequest& request);

}  // namespace fusegrid
