// Reads the models that a zoo describes, and checks them.
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>

#include "checkpoint/checks.h"
#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/parallel.h"
#include "core/text.h"
#include "models/architecture.h"
#include "models/stored_parameters.h"
#include "store/task_pack.h"
#include "tasks/kind.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

HfFolder open_folder(const fs::path& path) {
  return HfFolder(path, {.allow_symlinks = true});  // a hub cache is made of links; they may not lead outside
}

// The same weights in a model of other settings (heads, activation, ...) would be another function.
void check_settings(const HfFolder& base, const HfFolder& model) {
  const std::string family = make_architecture(base.config())->name();
  if (const std::string other = make_architecture(model.config())->name(); other != family) {
    throw ConfigError("'" + (model.path() / "config.json").string() + "' describes a " + other +
                      ", but the base '" + base.path().string() + "' is a " + family +
                      "; models of one zoo have one architecture");
  }
  const nlohmann::json wanted = architecture_settings(base.config());
  const nlohmann::json seen = architecture_settings(model.config());
  for (const auto& [field, value] : wanted.items()) {
    if (seen.at(field) != value) {
      throw ConfigError("'" + (model.path() / "config.json").string() + "': " + field + " must be " +
                        value.dump() + ", as that of the base '" + base.path().string() + "', but it is " +
                        seen.at(field).dump() + "; models of one zoo have one architecture");
    }
  }
}

// Calls use(name, values) for each parameter, in name order: read, and checked while it is in the cache.
template <typename Use>
void for_parameters(const Architecture& architecture, const fs::path& path, const Use& use) {
  const HfFolder folder = open_folder(path);
  const StoredParameters stored(architecture, folder);
  for (const TensorInfo& info : stored.tensors()) {
    const at::Tensor values = stored.read(info.name).to(at::kFloat);
    check_finite({{info.name, values}}, path.string());
    use(info.name, values);
  }
}

std::vector<double> three_numbers(const nlohmann::json& config, const std::string& field) {
  if (!config.contains(field) || !config[field].is_array() || config[field].size() != 3 ||
      !config[field][0].is_number() || !config[field][1].is_number() || !config[field][2].is_number()) {
    throw ConfigError("preprocessor_config.json: " + field + " must be three numbers, but it is " +
                      (config.contains(field) ? config[field].dump() : "missing"));
  }
  return config[field].get<std::vector<double>>();
}

ImageNormalisation read_normalisation(const HfFolder& folder) {
  const auto& config = folder.preprocessor_config();
  if (!config) {
    throw ConfigError("'" + folder.path().string() +
                      "' has no preprocessor_config.json; it must say image_mean and image_std");
  }
  constexpr double kRescale = 1.0 / 255;
  const nlohmann::json factor = config->value("rescale_factor", nlohmann::json(kRescale));
  if (!factor.is_number() || std::abs(factor.get<double>() - kRescale) > 1e-9) {
    throw ConfigError("preprocessor_config.json: rescale_factor must be 1/255, but it is " + factor.dump());
  }
  ImageNormalisation normalisation{three_numbers(*config, "image_mean"), three_numbers(*config, "image_std")};
  for (const double deviation : normalisation.std) {
    if (!(deviation > 0)) {
      throw ConfigError("preprocessor_config.json: image_std must be positive, but has " +
                        number_text(deviation));
    }
  }
  return normalisation;
}

std::string head_of(const SafetensorsFile& file, const std::string& task) {
  return "'" + file.path().string() + "': head of task '" + task + "'";
}

void check_columns(const at::Tensor& matrix, int64_t columns, const std::string& what) {
  if (matrix.dim() != 2 || matrix.size(1) != columns) {
    throw ConfigError(what + " must have the shape [classes, " + std::to_string(columns) + "], but it has " +
                      shape_text(matrix.sizes().vec()));
  }
}

// Frozen rows of unit length. projection: of the base, undefined where it has none.
std::shared_ptr<const Readout> read_cosine_head(const SafetensorsFile& file, const std::string& task,
                                                double scale, const at::Tensor& projection,
                                                int64_t features) {
  const std::string what = head_of(file, task);
  const at::Tensor rows = file.read(task + ".rows").to(at::kFloat);
  check_columns(rows, projection.defined() ? projection.size(0) : features, what);
  const double off = (at::linalg_vector_norm(rows, 2, {{1}}) - 1).abs().max().item<double>();
  if (!(off < 1e-3)) {  // also where it is NaN
    throw DataError(what + " must have rows of length 1, but one is off by " + number_text(off));
  }
  return cosine_readout(rows, scale, projection);
}

std::shared_ptr<const Readout> read_affine_head(const SafetensorsFile& file, const std::string& task,
                                                int64_t features, Pooling pooling) {
  const std::string what = head_of(file, task);
  const at::Tensor weight = file.read(task + ".weight").to(at::kFloat);
  check_columns(weight, features, what);
  const at::Tensor bias = file.contains(task + ".bias") ? file.read(task + ".bias").to(at::kFloat)
                                                        : at::zeros({weight.size(0)}, at::kFloat);
  if (bias.sizes() != at::IntArrayRef{weight.size(0)}) {
    throw ConfigError(what + " must have a bias of shape [" + std::to_string(weight.size(0)) +
                      "], but it has " + shape_text(bias.sizes().vec()));
  }
  check_finite({{task + ".weight", weight}, {task + ".bias", bias}}, file.path().string());
  return affine_readout(weight, bias, pooling);
}

// Of models that make tokens.
std::shared_ptr<const Readout> own_readout(const Architecture& architecture) {
  const auto head = architecture.token_head();
  if (!head) {
    throw ConfigError("the zoo has no heads, and its models, of the architecture " + architecture.name() +
                      ", make no tokens; name a heads file");
  }
  return token_readout(*head, architecture.feature_size(), architecture.input().vocabulary);
}

double read_logit_scale(const SafetensorsFile& file) {
  const at::Tensor scale = file.read("logit_scale");
  const bool one = scale.numel() == 1 && scale.is_floating_point();
  const double value = one ? std::exp(scale.reshape({}).item<double>()) : 0;
  if (!(value > 0 && std::isfinite(value))) {
    throw DataError("'" + file.path().string() +
                    "': logit_scale must be one finite number, the logarithm of " +
                    "the scale of the logits");
  }
  return value;
}

void check_digest(const Replicate& replicate, const std::string& model, const std::string& seen) {
  const auto recorded = replicate.digests.find(model);
  if (recorded != replicate.digests.end() && seen != recorded->second) {
    throw DataError("model '" + model + "' of seed " + std::to_string(replicate.seed) +
                    " is not the one that zoo.json recorded (SHA-256 " + recorded->second + ", now " + seen +
                    "); build the zoo again, or import it anew if the change is wanted");
  }
}

LoadedModel load_model(const Architecture& architecture, const Zoo& zoo, const Replicate& replicate,
                       const std::string& model, at::Device device) {
  LoadedModel loaded;
  Sha256 hash;
  for_parameters(architecture, model_folder(zoo, replicate, model),
                 [&](const std::string& name, const at::Tensor& values) {
                   add_to_digest(hash, name, values);
                   loaded.weights.emplace(name, values.to(device));
                 });
  loaded.digest = hash.hex();
  check_digest(replicate, model, loaded.digest);
  return loaded;
}

std::vector<std::string> models_of(const Replicate& replicate) {
  std::vector<std::string> models{"base"};
  for (const auto& [name, folder] : replicate.experts) {
    models.push_back("expert/" + name);
  }
  if (replicate.multitask) {
    models.emplace_back("multitask");
  }
  return models;
}

template <typename Function>
void collect(std::vector<std::string>& problems, const Function& check) {
  try {
    check();
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
}

void check_outputs(const TaskInfo& task, const Network& network, bool has_heads) {
  const TaskKind& kind = task_kind(task.kind);
  if (kind.has_tokens() == has_heads) {
    throw ConfigError("task '" + task.name + "' is of the kind " + task.kind +
                      (has_heads
                           ? ", whose answers are tokens, but the zoo has heads; import it without a heads "
                             "file"
                           : ", which asks for a head, but the zoo has none; name a heads file"));
  }
  const auto classes = static_cast<int64_t>(task.class_names.size());
  const int64_t outputs = network.readout(task.name).outputs();
  const int64_t wanted = kind.has_tokens() ? outputs : kind.outputs(classes);
  if (outputs != wanted) {
    throw ConfigError("the head of task '" + task.name +
                      "' must have as many outputs as a task of the kind " + task.kind +
                      (classes > 0 ? " with " + std::to_string(classes) + " classes" : "") + " asks for, " +
                      std::to_string(wanted) + ", but it has " + std::to_string(outputs) +
                      "; use the task pack that the head was made for");
  }
}

// The token that an answer of the pack begins with, and how long it may be.
void check_answers(const TaskInfo& task, const InputFormat& input) {
  const auto start = task.attributes.find("answer_start");
  if (start == task.attributes.end()) {
    return;
  }
  if (input.answer_start && *input.answer_start != start->get<int64_t>()) {
    throw ConfigError("answers of task '" + task.name + "' begin with the token " + start->dump() +
                      ", but those of the models with " + std::to_string(*input.answer_start) +
                      "; use the task pack that the models were trained on");
  }
}

void check_pack(const Zoo& zoo, const Network& network, bool has_heads) {
  const TaskPack pack(zoo.pack);
  if (!zoo.pack_sha256.empty() && pack.sha256() != zoo.pack_sha256) {
    throw DataError("task pack '" + zoo.pack.string() +
                    "' is not the one that the zoo was made with (SHA-256 " + zoo.pack_sha256 + ", now " +
                    pack.sha256() + ")");
  }
  check_tokens(pack, network.architecture->input(), zoo.tokenizer_sha256);
  for (const std::string& task : zoo.tasks) {
    check_readable(pack.task(task), network.architecture->input());
    check_answers(pack.task(task), network.architecture->input());
    check_outputs(pack.task(task), network, has_heads);
  }
}

}  // namespace

void check_readable(const TaskInfo& task, const InputFormat& input) {
  const bool has_images = task.image_height > 0;
  const std::string what = "the inputs of task '" + task.name + "' are ";
  if (has_images != (input.image_size > 0)) {
    throw ConfigError("the models read " + std::string(has_images ? "tokens" : "images") + ", but " + what +
                      (has_images ? "images" : "tokens") + "; use a task pack that the models can read");
  }
  if (has_images && (task.image_height != input.image_size || task.image_width != input.image_size)) {
    throw ConfigError("the models take images of " + std::to_string(input.image_size) + " x " +
                      std::to_string(input.image_size) + " pixels, but " + what +
                      std::to_string(task.image_height) + " x " + std::to_string(task.image_width) +
                      "; make a task pack of the models' size");
  }
  if (!has_images && task.longest_row > input.positions) {
    throw ConfigError("the models take rows of at most " + std::to_string(input.positions) + " tokens, but " +
                      what + "up to " + std::to_string(task.longest_row) +
                      "; make a task pack with shorter rows");
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

Weights load_weights(const Architecture& architecture, const fs::path& folder, at::Device device) {
  Weights weights;
  for_parameters(architecture, folder, [&](const std::string& name, const at::Tensor& values) {
    weights.emplace(name, values.to(device));
  });
  return weights;
}

void check_model(const Architecture& architecture, const Replicate& replicate, const std::string& model,
                 const fs::path& path) {
  Sha256 hash;
  for_parameters(architecture, path, [&](const std::string& name, const at::Tensor& values) {
    add_to_digest(hash, name, values);
  });
  check_digest(replicate, model, hash.hex());
}

Network load_network_without_readouts(const fs::path& base, at::Device device) {
  const HfFolder folder = open_folder(base);
  Network network;
  network.architecture = make_architecture(folder.config());
  if (network.architecture->input().image_size > 0) {
    network.normalisation = read_normalisation(folder);
  }
  network.device = device;
  return network;
}

std::map<std::string, std::shared_ptr<const Readout>> load_readouts(const fs::path& base,
                                                                    const fs::path& heads,
                                                                    const std::vector<std::string>& tasks,
                                                                    Pooling pooling, at::Device device) {
  const HfFolder folder = open_folder(base);
  const auto architecture = make_architecture(folder.config());
  const int64_t features = architecture->feature_size();
  const auto projection = architecture->projection();
  at::Tensor projected;
  if (projection && (projection->required || folder.contains(projection->info.name))) {
    const auto& [name, shape, dtype] = projection->info;
    projected = folder.read(stored_tensor(folder, {name}, shape).name).to(at::kFloat);
  }
  std::map<std::string, std::shared_ptr<const Readout>> readouts;
  if (heads.empty()) {
    const auto readout = own_readout(*architecture);
    for (const std::string& task : tasks) {
      readouts[task] = readout;
    }
    return readouts;
  }
  const SafetensorsFile file(heads);
  std::optional<double> scale;
  for (const std::string& task : tasks) {
    if (file.contains(task + ".rows")) {
      if (pooling != Pooling::kFirst) {
        throw ConfigError(head_of(file, task) + " reads the first token, but the pooling of the zoo is " +
                          to_string(pooling) + "; all heads of a zoo must read features pooled alike");
      }
      scale = scale ? scale : read_logit_scale(file);
      readouts[task] = read_cosine_head(file, task, *scale, projected, features)->to(device);
    } else if (file.contains(task + ".weight")) {
      readouts[task] = read_affine_head(file, task, features, pooling)->to(device);
    } else {
      throw ConfigError(head_of(file, task) + " is missing; the file needs a tensor " + task +
                        ".rows [classes, embedding size] of unit length, or " + task + ".weight [classes, " +
                        std::to_string(features) + "] and " + task + ".bias [classes]");
    }
  }
  return readouts;
}

Network load_network(const Zoo& zoo, const Replicate& replicate, at::Device device) {
  Network network = load_network_without_readouts(replicate.base, device);
  network.readouts = load_readouts(replicate.base, replicate.heads, zoo.tasks, zoo.pooling, device);
  return network;
}

namespace {

// The multi-task model's own heads, where it has any, answer the same questions as the zoo's.
void check_multitask_heads(const Zoo& zoo, const Replicate& replicate, const Network& network) {
  if (!replicate.multitask_heads) {
    return;
  }
  const fs::path& file = *replicate.multitask_heads;
  for (const auto& [task, readout] : load_readouts(replicate.base, file, zoo.tasks, zoo.pooling, at::kCPU)) {
    const int64_t outputs = network.readout(task).outputs();
    if (readout->outputs() != outputs) {
      throw ConfigError("'" + file.string() + "': head of task '" + task + "' must have " +
                        std::to_string(outputs) + " outputs, as the zoo's has, but it has " +
                        std::to_string(readout->outputs()));
    }
  }
}

}  // namespace

void check_layouts(const Zoo& zoo, const Replicate& replicate) {
  const Network network = load_network(zoo, replicate, at::kCPU);
  check_multitask_heads(zoo, replicate, network);
  std::vector<fs::path> folders{replicate.base};
  for (const auto& [task, folder] : replicate.experts) {
    folders.push_back(folder);
  }
  if (replicate.multitask) {
    folders.push_back(*replicate.multitask);
  }
  const HfFolder base = open_folder(replicate.base);
  for (const fs::path& path : folders) {
    const HfFolder folder = open_folder(path);
    check_settings(base, folder);
    const StoredParameters all_are_there(*network.architecture, folder);
  }
}

fs::path model_folder(const Zoo& zoo, const Replicate& replicate, const std::string& model) {
  const std::string of_seed = "' of seed " + std::to_string(replicate.seed);
  if (model == "base") {
    return replicate.base;
  }
  if (model == "multitask") {
    if (!replicate.multitask) {
      throw ConfigError("zoo '" + zoo.name + "' has no model 'multitask" + of_seed +
                        "; build it with fusegrid zoo build");
    }
    return *replicate.multitask;
  }
  const auto slash = model.find('/');
  const auto folder = replicate.experts.find(model.substr(slash + 1));
  if (model.substr(0, slash) != "expert" || folder == replicate.experts.end()) {
    throw ConfigError("zoo '" + zoo.name + "' has no model '" + model + of_seed + ". Its experts are " +
                      join(zoo.expert_names(), ", "));
  }
  return folder->second;
}

std::vector<LoadedModel> load_models(const Architecture& architecture, const Zoo& zoo,
                                     const Replicate& replicate, const std::vector<std::string>& models,
                                     at::Device device) {
  std::vector<LoadedModel> loaded(models.size());
  in_parallel(reading_threads(), models.size(),
              [&](size_t i) { loaded[i] = load_model(architecture, zoo, replicate, models[i], device); });
  return loaded;
}

LoadedReplicate load_replicate(const Zoo& zoo, const Replicate& replicate,
                               const std::vector<std::string>& experts, bool with_multitask,
                               at::Device device) {
  LoadedReplicate loaded;
  loaded.network = load_network(zoo, replicate, device);
  std::vector<std::string> models{"base"};
  for (const std::string& name : experts) {
    models.push_back("expert/" + name);
  }
  if (with_multitask) {
    models.emplace_back("multitask");
  }
  auto read = load_models(*loaded.network.architecture, zoo, replicate, models, device);
  loaded.base = std::move(read.front().weights);
  for (size_t i = 0; i < experts.size(); ++i) {
    loaded.experts.emplace(experts[i], std::move(read[1 + i].weights));
  }
  if (with_multitask) {
    loaded.multitask = std::move(read.back().weights);
  }
  return loaded;
}

std::vector<std::string> verify(const Zoo& zoo) {
  std::vector<std::string> problems;
  for (const Replicate& replicate : zoo.replicates) {
    Network network;
    collect(problems, [&] { network = load_network(zoo, replicate, at::kCPU); });
    if (!network.architecture) {
      continue;  // without its base nothing else can be judged
    }
    collect(problems, [&] { check_pack(zoo, network, !replicate.heads.empty()); });
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

Zoo import_zoo(const ImportRequest& request) {
  Zoo zoo;
  zoo.folder = (fs::absolute(request.folder).lexically_normal() / "").parent_path();  // "zoos/a/" is "zoos/a"
  zoo.name = zoo.folder.filename().string();
  check_name(zoo.name, "the name of a zoo, which is its folder's,");
  if (!request.replace && fs::exists(zoo.folder / "zoo.json")) {
    throw ConfigError("there is a zoo in '" + zoo.folder.string() +
                      "'; import into another folder, or replace its " +
                      "description with --replace (results made with it then belong to another zoo)");
  }
  zoo.scale = request.scale;
  zoo.suite = request.suite;
  zoo.pack = fs::absolute(request.pack);
  Replicate replicate;
  replicate.base = fs::absolute(request.base);
  replicate.heads = request.heads.empty() ? fs::path() : fs::absolute(request.heads);
  zoo.pooling = request.heads.empty() ? Pooling::kNone : request.pooling;
  for (const auto& [task, folder] : request.experts) {
    check_task_name(task, "the name of a task");
    zoo.tasks.push_back(task);
    zoo.experts.push_back({task, {task}});
    if (!replicate.experts.emplace(task, fs::absolute(folder)).second) {
      throw ConfigError("task '" + task + "' is given twice; a zoo has one expert for each task");
    }
  }
  check_layouts(zoo, replicate);
  const Network network = load_network(zoo, replicate, at::kCPU);
  replicate.digests["base"] = digest(load_weights(*network.architecture, replicate.base, at::kCPU));
  for (const auto& [task, folder] : replicate.experts) {
    replicate.digests["expert/" + task] = digest(load_weights(*network.architecture, folder, at::kCPU));
  }
  const TaskPack pack(zoo.pack);
  if (pack.tokens() != nullptr) {
    zoo.tokenizer_sha256 = pack.tokens()->tokenizer_sha256;
  }
  check_pack(zoo, network, !request.heads.empty());
  zoo.pack_sha256 = pack.sha256();
  zoo.replicates.push_back(std::move(replicate));
  zoo.imported = true;
  fs::create_directories(zoo.folder);
  zoo.save();
  return zoo;
}

}  // namespace fusegrid
