// Reads the models that a zoo describes, and checks them.
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>

#include "checkpoint/checks.h"
#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/digest.h"
#include "core/errors.h"
#include "core/names.h"
#include "core/text.h"
#include "models/settings.h"
#include "store/task_pack.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

HfFolder open_folder(const fs::path& path) {
  return HfFolder(path, {.allow_symlinks = true});  // a hub cache is made of links; they may not lead outside
}

void check_tensor(const HfFolder& folder, const TensorInfo& wanted) {
  const std::string what = "'" + folder.path().string() + "': tensor " + wanted.name;
  if (!folder.contains(wanted.name)) {
    throw ConfigError(what + " is missing; a checkpoint must have all parameters of the architecture");
  }
  const TensorInfo& seen = folder.info(wanted.name);
  if (seen.shape != wanted.shape || !seen.floating()) {
    throw ConfigError(what + " must be floating-point of shape " + shape_text(wanted.shape) + ", but it is " +
                      at::toString(seen.dtype) + " " + shape_text(seen.shape) +
                      "; experts must have the architecture of their base");
  }
}

// The same weights in a model of other settings (heads, activation, ...) would be another function.
void check_settings(const HfFolder& base, const HfFolder& model) {
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

at::Tensor read_float(const HfFolder& folder, const TensorInfo& wanted) {
  check_tensor(folder, wanted);
  return folder.read(wanted.name).to(at::kFloat);
}

Weights read_weights(const Architecture& architecture, const HfFolder& folder) {
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    weights.emplace(info.name, read_float(folder, info));
  }
  check_finite(weights, folder.path().string());
  return weights;
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

Head read_head(const SafetensorsFile& file, const std::string& task, double scale, int64_t columns) {
  const std::string what = "'" + file.path().string() + "': head of task '" + task + "'";
  const std::string name = task + ".rows";
  if (!file.contains(name)) {
    throw ConfigError(what + " is missing; the file needs a tensor " + name + " [classes, " +
                      std::to_string(columns) + "]");
  }
  const at::Tensor rows = file.read(name).to(at::kFloat);
  if (rows.dim() != 2 || rows.size(1) != columns) {
    throw ConfigError(what + " must have the shape [classes, " + std::to_string(columns) + "], but it has " +
                      shape_text(rows.sizes().vec()));
  }
  const double off = (at::linalg_vector_norm(rows, 2, {{1}}) - 1).abs().max().item<double>();
  if (!(off < 1e-3)) {  // also where it is NaN
    throw DataError(what + " must have rows of length 1, but one is off by " + number_text(off));
  }
  return {rows, scale};
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

LoadedModel load_checked(const Architecture& architecture, const Replicate& replicate,
                         const std::string& model, const fs::path& folder, at::Device device) {
  const Weights weights = read_weights(architecture, open_folder(folder));
  LoadedModel loaded{to_device(weights, device), digest(weights)};
  check_digest(replicate, model, loaded.digest);
  return loaded;
}

template <typename Function>
void collect(std::vector<std::string>& problems, const Function& check) {
  try {
    check();
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
}

void check_pack(const Zoo& zoo, const Network& network) {
  const TaskPack pack(zoo.pack);
  if (!zoo.pack_sha256.empty() && pack.sha256() != zoo.pack_sha256) {
    throw DataError("task pack '" + zoo.pack.string() +
                    "' is not the one that the zoo was made with (SHA-256 " + zoo.pack_sha256 + ", now " +
                    pack.sha256() + ")");
  }
  const int64_t size = network.architecture->image_size();
  for (const std::string& task : zoo.tasks) {
    const TaskInfo& info = pack.task(task);
    if (info.kind != "classify" || info.image_height != size || info.image_width != size) {
      throw ConfigError("the models classify images of " + std::to_string(size) + " x " +
                        std::to_string(size) + " pixels, but task '" + task +
                        "' of the pack is of the kind " + info.kind + " with " +
                        (info.image_height == 0 ? "tokens"
                                                : "images of " + std::to_string(info.image_height) + " x " +
                                                      std::to_string(info.image_width) + " pixels"));
    }
    const auto classes = static_cast<int64_t>(info.class_names.size());
    const int64_t rows = network.head(task).rows.size(0);
    if (classes != rows) {
      throw ConfigError("the head of task '" + task + "' has " + std::to_string(rows) +
                        " classes, but the task pack has " + std::to_string(classes));
    }
  }
}

}  // namespace

Weights load_weights(const Architecture& architecture, const fs::path& folder, at::Device device) {
  return to_device(read_weights(architecture, open_folder(folder)), device);
}

void check_model(const Architecture& architecture, const Replicate& replicate, const std::string& model,
                 const fs::path& path) {
  const HfFolder folder = open_folder(path);
  Sha256 hash;
  for (const TensorInfo& info : architecture.parameters()) {
    const at::Tensor values = read_float(folder, info);
    check_finite({{info.name, values}}, path.string());
    add_to_digest(hash, info.name, values);
  }
  check_digest(replicate, model, hash.hex());
}

Network load_network(const fs::path& base, const fs::path& heads, const std::vector<std::string>& tasks,
                     at::Device device) {
  const HfFolder folder = open_folder(base);
  Network network;
  network.architecture = make_architecture(folder.config());
  network.normalisation = read_normalisation(folder);
  network.device = device;
  int64_t columns = network.architecture->feature_size();
  const auto projection = network.architecture->projection();
  if (projection && (projection->required || folder.contains(projection->info.name))) {
    network.projection = read_float(folder, projection->info).to(device);
    columns = network.projection.size(0);
  }
  const SafetensorsFile file(heads);
  const double scale = read_logit_scale(file);
  for (const std::string& task : tasks) {
    Head head = read_head(file, task, scale, columns);
    head.rows = head.rows.to(device);
    network.heads.emplace(task, std::move(head));
  }
  return network;
}

void check_layouts(const Zoo& zoo, const Replicate& replicate) {
  const Network network = load_network(replicate.base, replicate.heads, zoo.tasks, at::kCPU);
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
    for (const TensorInfo& info : network.architecture->parameters()) {
      check_tensor(folder, info);
    }
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
    throw ConfigError("zoo '" + zoo.name + "' has no model '" + model + of_seed +
                      ". Its experts are those of " + join(zoo.tasks, ", "));
  }
  return folder->second;
}

LoadedModel load_model(const Architecture& architecture, const Zoo& zoo, const Replicate& replicate,
                       const std::string& model, at::Device device) {
  return load_checked(architecture, replicate, model, model_folder(zoo, replicate, model), device);
}

LoadedReplicate load_replicate(const Zoo& zoo, const Replicate& replicate,
                               const std::vector<std::string>& tasks, bool with_multitask,
                               at::Device device) {
  LoadedReplicate loaded;
  loaded.network = load_network(replicate.base, replicate.heads, zoo.tasks, device);
  const auto load = [&](const std::string& model) {
    return load_model(*loaded.network.architecture, zoo, replicate, model, device).weights;
  };
  loaded.base = load("base");
  for (const std::string& task : tasks) {
    loaded.experts.emplace(task, load("expert/" + task));
  }
  if (with_multitask) {
    loaded.multitask = load("multitask");
  }
  return loaded;
}

std::vector<std::string> verify(const Zoo& zoo) {
  std::vector<std::string> problems;
  for (const Replicate& replicate : zoo.replicates) {
    Network network;
    collect(problems, [&] { network = load_network(replicate.base, replicate.heads, zoo.tasks, at::kCPU); });
    if (!network.architecture) {
      continue;  // without its base nothing else can be judged
    }
    collect(problems, [&] { check_pack(zoo, network); });
    collect(problems, [&] { check_layouts(zoo, replicate); });
    collect(problems,
            [&] { load_checked(*network.architecture, replicate, "base", replicate.base, at::kCPU); });
    for (const auto& [task, folder] : replicate.experts) {
      collect(problems, [&, &model = task, &path = folder] {
        load_checked(*network.architecture, replicate, "expert/" + model, path, at::kCPU);
      });
    }
    if (replicate.multitask) {
      collect(problems, [&] {
        load_checked(*network.architecture, replicate, "multitask", *replicate.multitask, at::kCPU);
      });
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
  replicate.heads = fs::absolute(request.heads);
  for (const auto& [task, folder] : request.experts) {
    check_task_name(task, "the name of a task");
    zoo.tasks.push_back(task);
    if (!replicate.experts.emplace(task, fs::absolute(folder)).second) {
      throw ConfigError("task '" + task + "' is given twice; a zoo has one expert for each task");
    }
  }
  check_layouts(zoo, replicate);
  const Network network = load_network(replicate.base, replicate.heads, zoo.tasks, at::kCPU);
  replicate.digests["base"] = digest(load_weights(*network.architecture, replicate.base, at::kCPU));
  for (const auto& [task, folder] : replicate.experts) {
    replicate.digests["expert/" + task] = digest(load_weights(*network.architecture, folder, at::kCPU));
  }
  check_pack(zoo, network);
  zoo.pack_sha256 = TaskPack(zoo.pack).sha256();
  zoo.replicates.push_back(std::move(replicate));
  zoo.imported = true;
  fs::create_directories(zoo.folder);
  zoo.save();
  return zoo;
}

}  // namespace fusegrid
