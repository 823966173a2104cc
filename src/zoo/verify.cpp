// Checks that the parts of a zoo fit each other, and are those that were recorded.
#include <algorithm>

#include "core/errors.h"
#include "core/parallel.h"
#include "models/architecture.h"
#include "models/stored_parameters.h"
#include "models/unknown_family.h"
#include "store/task_pack.h"
#include "tasks/kind.h"
#include "zoo/checkpoint_folder.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

// All that can be said of a family that is not known: which of its settings matter is not.
void check_model_type(const ModelSource& base, const ModelSource& model) {
  const nlohmann::json wanted = base.config().at("model_type");
  const nlohmann::json seen = model.config().value("model_type", nlohmann::json());
  if (seen != wanted) {
    throw ConfigError("the configuration of '" + model.name() + "': model_type must be " + wanted.dump() +
                      ", as that of the base '" + base.name() + "', but it is " + seen.dump() +
                      "; models of one zoo have one architecture");
  }
}

// The same weights in a model of other settings (heads, activation, ...) would be another function.
void check_settings(const ModelSource& base, const ModelSource& model) {
  if (is_of_unknown_family(base.config())) {
    check_model_type(base, model);
    return;
  }
  const std::string family = make_architecture(base.config())->name();
  if (const std::string other = make_architecture(model.config())->name(); other != family) {
    throw ConfigError("the configuration of '" + model.name() + "' describes a " + other +
                      ", but the base '" + base.name() + "' is a " + family +
                      "; models of one zoo have one architecture");
  }
  const nlohmann::json wanted = architecture_settings(base.config());
  const nlohmann::json seen = architecture_settings(model.config());
  nlohmann::json fields = wanted;
  fields.update(seen);
  for (const auto& [field, unused] : fields.items()) {
    const nlohmann::json none, ours = wanted.value(field, none), theirs = seen.value(field, none);
    if (ours != theirs) {
      throw ConfigError("the configuration of '" + model.name() + "': " + field + " must be " + ours.dump() +
                        ", as that of the base '" + base.name() + "', but it is " + theirs.dump() +
                        "; models of one zoo have one architecture");
    }
  }
}

// The multi-task model's own heads, where it has any, answer the same questions as the zoo's.
void check_multitask_heads(const Zoo& zoo, const Replicate& replicate, const Network& network) {
  if (!replicate.multitask_heads) {
    return;
  }
  const fs::path& file = *replicate.multitask_heads;
  for (const auto& [task, readout] :
       load_readouts(replicate.layout(), file, zoo.tasks, zoo.pooling, at::kCPU)) {
    const int64_t outputs = network.readout(task).outputs();
    if (readout->outputs() != outputs) {
      throw ConfigError("'" + file.string() + "': head of task '" + task + "' must have " +
                        std::to_string(outputs) + " outputs, as the zoo's has, but it has " +
                        std::to_string(readout->outputs()));
    }
  }
}

// An answer of the pack begins with the token with which those of the models do.
void check_answers(const TaskInfo& task, const InputFormat& input) {
  const auto start = task.attributes.find("answer_start");
  if (start != task.attributes.end() && input.answer_start && *input.answer_start != start->get<int64_t>()) {
    throw ConfigError("answers of task '" + task.name + "' begin with the token " + start->dump() +
                      ", but those of the models with " + std::to_string(*input.answer_start) +
                      "; use the task pack that the models were trained on");
  }
}

void check_outputs(const TaskInfo& task, const Readout& readout, bool reads_states) {
  const TaskKind& kind = task_kind(task.kind);
  if (kind.has_states() != reads_states) {
    throw ConfigError("task '" + task.name + "' is of the kind " + task.kind +
                      (reads_states ? ", but the models of the zoo are flows, which make samples"
                                    : ", which models make that are flows, but those of the zoo are none") +
                      "; use the task pack that the models were trained on");
  }
  if (reads_states) {
    return;
  }
  const bool makes_tokens = readout.weights().empty() && readout.pooling() == Pooling::kNone;
  if (kind.has_tokens() != makes_tokens) {
    throw ConfigError("task '" + task.name + "' is of the kind " + task.kind +
                      (makes_tokens ? ", which asks for a head, but the zoo has none; name a heads file"
                                    : ", whose answers are tokens, but the zoo has heads; leave them out"));
  }
  if (makes_tokens) {
    return;
  }
  if (kind.has_maps() != (readout.pooling() == Pooling::kNone)) {
    throw ConfigError("task '" + task.name + "' is of the kind " + task.kind +
                      (kind.has_maps()
                           ? ", whose head is a decoder of maps, but that of the zoo is none"
                           : ", whose answers are no maps, but the head of the zoo is a decoder of maps") +
                      "; use the task pack that the head was made for");
  }
  const auto classes = static_cast<int64_t>(task.class_names.size());
  const int64_t outputs = readout.outputs();
  const int64_t wanted = kind.outputs(classes);
  if (outputs != wanted) {
    throw ConfigError("the head of task '" + task.name +
                      "' must have as many outputs as a task of the kind " + task.kind +
                      (classes > 0 ? " with " + std::to_string(classes) + " classes" : "") + " asks for, " +
                      std::to_string(wanted) + ", but it has " + std::to_string(outputs) +
                      "; use the task pack that the head was made for");
  }
}

void check_classes_seen(const Zoo& zoo, const TaskPack& pack) {
  for (const ZooExpert& expert : zoo.experts) {
    for (const auto& [task, classes] : expert.classes) {
      labels_seen(expert, pack.task(task));
    }
  }
}

template <typename Function>
void collect(std::vector<std::string>& problems, const Function& check) {
  try {
    check();
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
}

// Of a task whose pictures a flow makes.
void check_state_size(const TaskInfo& task, const InputFormat& input) {
  if (task.image_height != input.state_size || task.image_width != input.state_size ||
      task.image_channels != input.state_channels) {
    throw ConfigError(
        "the models make pictures of " + std::to_string(input.state_size) + " x " +
        std::to_string(input.state_size) + " pixels with " + std::to_string(input.state_channels) +
        " channels (0: they are no flows), but those of task '" + task.name + "' have " +
        std::to_string(task.image_height) + " x " + std::to_string(task.image_width) + " with " +
        std::to_string(task.image_channels) + "; make a task pack of the models' size");
  }
  const auto asked = static_cast<int64_t>(task.class_names.size() + task.style_names.size());
  if (asked > input.conditions) {
    throw ConfigError("the models can be asked for " + std::to_string(input.conditions) +
                      " classes and styles, but task '" + task.name + "' has " + std::to_string(asked) +
                      "; use the task pack that the models were trained on");
  }
}

}  // namespace

int64_t longest_with_answer(const TaskInfo& task) {
  return std::max(task.longest_with_choice,
                  task.longest_row + task.attributes.value("longest_answer", int64_t{0}));
}

void check_readable(const TaskInfo& task, const InputFormat& input) {
  if (task_kind(task.kind).has_states()) {
    check_state_size(task, input);
    return;
  }
  const bool has_images = task.image_height > 0, has_tokens = task.longest_row > 0;
  const std::string what = "the inputs of task '" + task.name + "' are ";
  if ((has_images && input.image_size == 0) || (has_tokens && input.image_size > 0 && input.positions == 0)) {
    throw ConfigError("the models read " + std::string(input.image_size == 0 ? "tokens" : "images") +
                      ", but " + what + (input.image_size == 0 ? "images" : "tokens") +
                      "; use a task pack that the models can read");
  }
  if (has_images && has_tokens && !task.pairs && !input.together) {
    throw ConfigError("the models read images and tokens apart, but " + what +
                      "images with tokens; use a task pack that the models can read");
  }
  const PixelSize seen{task.image_height, task.image_width};
  if (has_images && seen != input.pixels()) {
    throw ConfigError("the models take images of " + to_string(input.pixels()) + " pixels, but " + what +
                      to_string(seen) + "; make a task pack of the models' size");
  }
  if (!has_tokens) {
    return;
  }
  const std::string most = "the models take rows of at most " + std::to_string(input.positions) + " tokens";
  if (task.longest_row > input.positions) {
    throw ConfigError(most + ", but " + what + "up to " + std::to_string(task.longest_row) +
                      "; make a task pack with shorter rows");
  }
  // the last token of an answer is never read
  if (input.with_answer && longest_with_answer(task) - 1 > input.positions) {
    throw ConfigError(most + ", answers included, but those of task '" + task.name + "' have up to " +
                      std::to_string(longest_with_answer(task)) +
                      ", of which the last is not read; make a task pack with shorter rows or answers");
  }
}

void check_tokens(const TaskPack& pack, const InputFormat& input, const std::string& tokenizer_sha256) {
  const TokenTable* tokens = pack.tokens();
  if (tokens == nullptr || input.vocabulary == 0) {
    return;
  }
  const std::string where = "task pack '" + pack.path().string() + "' ";
  if (!tokenizer_sha256.empty() && tokens->tokenizer_sha256 != tokenizer_sha256) {
    throw ConfigError(where + "was made with another tokenizer (SHA-256 " + tokens->tokenizer_sha256 +
                      ") than the models (" + tokenizer_sha256 + "); use a pack in the tokens of the models");
  }
  if (tokens->size() > input.vocabulary) {
    throw ConfigError(where + "has " + std::to_string(tokens->size()) + " token ids, but the models have " +
                      std::to_string(input.vocabulary) + "; use a pack in the tokens of the models");
  }
}

void check_pack(const Zoo& zoo, const Network& network) {
  if (zoo.pack.empty()) {
    return;
  }
  const TaskPack pack(zoo.pack);
  if (!zoo.pack_sha256.empty() && pack.sha256() != zoo.pack_sha256) {
    throw DataError("task pack '" + zoo.pack.string() +
                    "' is not the one that the zoo was made with (SHA-256 " + zoo.pack_sha256 + ", now " +
                    pack.sha256() + ")");
  }
  check_tokens(pack, network.architecture->input(), zoo.tokenizer_sha256);
  check_classes_seen(zoo, pack);
  for (const std::string& task : zoo.tasks) {
    check_readable(pack.task(task), network.architecture->input());
    check_answers(pack.task(task), network.architecture->input());
    check_outputs(pack.task(task), network.readout(task), network.architecture->input().state_size > 0);
  }
}

void check_layouts(const Zoo& zoo, const Replicate& replicate) {
  const Network network = load_network(zoo, replicate, at::kCPU);
  check_multitask_heads(zoo, replicate, network);
  for (const std::string& model : models_of(replicate)) {
    check_layout(*network.architecture, replicate, model_folder(zoo, replicate, model));
  }
}

void check_layout(const Architecture& architecture, const Replicate& replicate, const fs::path& path) {
  const ModelFolder folder(replicate.layout(), path);
  check_settings(open_checkpoint(replicate.layout()), folder.model());
  const StoredParameters all_are_there(architecture, folder.model());
}

std::vector<std::string> verify(const Zoo& zoo) {
  std::vector<std::string> problems;
  for (const Replicate& replicate : zoo.replicates) {
    Network network;
    collect(problems, [&] { network = load_network(zoo, replicate, at::kCPU); });
    if (!network.architecture) {
      continue;  // without its base nothing else can be judged
    }
    collect(problems, [&] { check_pack(zoo, network); });
    collect(problems, [&] { check_layouts(zoo, replicate); });
    const auto models = models_of(replicate);
    std::vector<std::vector<std::string>> of_models(models.size());
    in_parallel(reading_threads(), models.size(), [&](size_t i) {
      collect(of_models[i], [&] {
        check_model(*network.architecture, replicate, models[i], model_folder(zoo, replicate, models[i]));
      });
    });
    for (const auto& of_model : of_models) {
      problems.insert(problems.end(), of_model.begin(), of_model.end());
    }
  }
  return problems;
}

}  // namespace fusegrid
