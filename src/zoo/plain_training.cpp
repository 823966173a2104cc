#include "zoo/plain_training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "core/text.h"
#include "zoo/image_batches.h"

namespace fusegrid {
namespace {

using nlohmann::json;

constexpr auto kVit = "vit";

json config_of(const PlainTraining& options, int64_t labels) {
  const int64_t w = options.width;
  json config{{"image_size", options.image_size},
              {"num_channels", 1},
              {"num_labels", labels},
              {"torch_dtype", "float32"}};
  if (options.net == "mlp") {
    config["model_type"] = "mlp";
    config["hidden_sizes"] = {w, w, w};
  } else if (options.net == "vgg") {
    config["model_type"] = "cnn";
    config["hidden_sizes"] = {w, 2 * w, 4 * w};
    config["depths"] = {1, 2, 2};
    config["norm"] = "batch";
    config["pool_last"] = false;
  } else if (options.net == kVit) {
    config["model_type"] = kVit;
    config["num_channels"] = 3;  // as published ones
    config["hidden_size"] = w;
    config["intermediate_size"] = 4 * w;
    config["num_hidden_layers"] = 2;
    config["num_attention_heads"] = std::max<int64_t>(w / 16, 1);
    config["patch_size"] = std::max<int64_t>(options.image_size / 4, 1);
  } else {
    config["model_type"] = "resnet_cifar";
    config["hidden_sizes"] = {w, 2 * w, 4 * w};
    config["depths"] = {3, 3, 3};
    config["stem_stride"] = 2;
  }
  return config;
}

std::string preprocessor_file(int64_t image_size) {
  json config = preprocessor_config(image_size);
  config["image_processor_type"] = "ViTImageProcessor";
  return config.dump(2) + "\n";
}

// Matrices and kernels have standard deviation sqrt(2 / fan_in), that of the head sqrt(1 / fan_in), and embeddings of
// places .02.
at::Tensor initial_tensor(const TensorInfo& info, const std::string& head, uint64_t seed) {
  switch (role_of(info)) {
    case Role::kMatrix:
    case Role::kConvolution: {
      const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
      const double gain = info.name == head ? 1 : 2;
      return normal_tensor(info.shape, std::sqrt(gain / fan_in), derive_key(seed, "plain/init/" + info.name));
    }
    case Role::kEmbedding:
      return normal_tensor(info.shape, 0.02, derive_key(seed, "plain/init/" + info.name));
    case Role::kScale:
      return at::ones(info.shape);
    case Role::kRunningStatistic:
      return info.name.ends_with("var") ? at::ones(info.shape) : at::zeros(info.shape);
    default:
      return at::zeros(info.shape);
  }
}

Weights first_values(const Architecture& architecture, uint64_t seed, at::Device device) {
  const std::string head = architecture.own_head()->weight;
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    weights.emplace(info.name, initial_tensor(info, head, seed).to(device));
  }
  return weights;
}

// Of what gradients train; running statistics come from the batches.
std::vector<TrainedGroup> groups_of(const PlainTraining& options, const Architecture& architecture,
                                    const Trainee& trainee) {
  TrainedGroup decayed{.tensors = {}, .weight_decay = options.weight_decay};
  TrainedGroup plain{.tensors = {}};
  for (const TensorInfo& info : architecture.parameters()) {
    if (!is_running_statistic(info)) {
      (is_layer_weight(info) ? decayed : plain).tensors.push_back(trainee.weights.at(info.name));
    }
  }
  return {decayed, plain};
}

LabelledTask read_task(const TaskPack& pack, const std::string& name, const ClassFilter& filter) {
  const Split train = pack.read(name, "train");
  LabelledTask task{name, static_cast<int64_t>(pack.task(name).class_names.size()), train.images,
                    train.labels};
  if (filter) {
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < task.labels.size(0); ++i) {
      if (filter(task.labels.const_data_ptr<int64_t>()[i], task.classes)) {
        chosen.push_back(i);
      }
    }
    const at::Tensor rows = at::tensor(chosen);
    task.images = task.images.index_select(0, rows);
    task.labels = task.labels.index_select(0, rows);
  }
  return task;
}

TrainedTask trained_task(const PlainTraining& options, const ModelInput& in, const std::string& name,
                         uint64_t seed, const ClassFilter& filter) {
  const LabelledTask task = read_task(in.pack, name, filter);
  const auto batches =
      std::make_shared<TaskBatches>(task, options.batch, options.max_shift, seed, in.network.device);
  return {name, &task_kind("classify"), [batches](int64_t step) -> Examples {
            ImageBatch at_step = batches->at(step);
            return {{at_step.pixels, {}, {}}, at_step.labels};
          }};
}

}  // namespace

PlainTraining plain_training_of(const std::string& scale) {
  PlainTraining options;
  for (const std::string net : {"mlp", "vgg", "resnet", kVit}) {
    if (scale.starts_with(net)) {
      options.net = net == "resnet" ? "resnet20" : net;
      options.width = parse_int(scale.substr(net.size()), "the width of scale " + scale);
      return options;
    }
  }
  FUSEGRID_ASSERT(false, "scale " + scale);
}

void check_plain_pack(const std::string& recipe, const TaskPack& pack,
                      const std::vector<std::string>& tasks) {
  const size_t classes = pack.task(tasks.front()).class_names.size();
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    if (info.kind != "classify" || info.image_height == 0 || info.class_names.size() != classes) {
      throw ConfigError("the recipe " + recipe + " trains one head on classified images, but task '" + task +
                        "' of '" + pack.path().string() + "' is of the kind " + info.kind + " with " +
                        std::to_string(info.class_names.size()) +
                        " classes; choose another pack or another recipe");
    }
  }
}

RecipeCard plain_card(const std::string& name, const std::string& doc, std::vector<RecipeScale> scales) {
  return {.name = name,
          .doc = doc,
          .scales = std::move(scales),
          .pooling = Pooling::kNone,
          .heads = Heads::kInside,
          .has_bases = false};
}

InputFormat plain_input(const PlainTraining& options) {
  return {.image_size = options.image_size};
}

MadeModel among_more_units(const PlainTraining& options, MadeModel model, int64_t width) {
  if (options.net == kVit || width < options.width) {
    throw ConfigError("a '" + options.net + "' of width " + std::to_string(options.width) +
                      " cannot be stored among " + std::to_string(width) +
                      " units; choose less for narrow than for width, and another net than vit, whose norms "
                      "count the units");
  }
  PlainTraining wide = options;
  wide.width = width;
  model.config = config_of(wide, model.config.at("num_labels"));
  for (const TensorInfo& info : make_architecture(model.config)->parameters()) {
    const bool unit_variance = is_running_statistic(info) && info.name.ends_with("var");
    at::Tensor& tensor = model.weights.at(info.name);
    at::Tensor among = at::full(info.shape, unit_variance ? 1 : 0, tensor.options());
    at::Tensor its_own = among;
    for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
      its_own = its_own.narrow(axis, 0, tensor.size(axis));
    }
    its_own.copy_(tensor);
    tensor = among;
  }
  return model;
}

MadeModel train_plainly(const PlainTraining& options, const ModelInput& in, uint64_t seed, int64_t steps,
                        const std::function<double(int64_t step)>& rate, const ClassFilter& filter) {
  const auto labels = static_cast<int64_t>(in.pack.task(in.tasks.front()).class_names.size());
  MadeModel made;
  made.config = config_of(options, labels);
  made.files = {{"preprocessor_config.json", preprocessor_file(options.image_size)}};
  Network network = in.network;
  network.architecture = make_architecture(made.config);
  const auto& architecture = *network.architecture;
  std::vector<TrainedTask> tasks;
  for (const std::string& task : in.tasks) {
    network.readouts[task] = own_readout(*architecture.own_head(), architecture.feature_size(), labels);
    tasks.push_back(trained_task(options, in, task, seed, filter));
  }
  const Weights first = first_values(architecture, seed, network.device);
  const Trainee trainee = make_trainee(first, names_of(first));
  const Optimiser optimiser = options.net == kVit ? Optimiser::kAdamW : Optimiser::kSgd;
  made.weights = train(network, trainee, tasks, groups_of(options, architecture, trainee),
                       {.steps = steps, .optimiser = optimiser, .rate = rate, .beta1 = 0.9}, in.on_step);
  return made;
}

// Measured in steps of 64 images: 300 a second of an mlp of 64, 110 of 512; 40 and 18 of vgg8 and vgg16; 25 and 11 of
// resnet8 and resnet16.
double plain_seconds(const PlainTraining& options, int64_t steps) {
  const auto width = static_cast<double>(options.width);
  const double of_step = options.net == "mlp"   ? 0.003 + 1.2e-5 * width
                         : options.net == kVit  ? 0.0025 * std::pow(width / 8, 1.2)
                         : options.net == "vgg" ? 0.0035 * std::pow(width / 2, 1.2) / 1.0
                                                : 0.005 * std::pow(width / 2, 1.2);
  return of_step * static_cast<double>(steps * options.batch) / 64;
}

}  // namespace fusegrid
