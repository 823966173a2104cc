// Residual networks on rooms, each expert with a decoder of its own for one sort of map: classes, depths or normals of
// pixels (docs/design/dense_zoo.md).
//
// Base:    no labels: of each training image half of the squares are hidden, and what was there is guessed from the
//          rest by a decoder that is thrown away.
// Experts: all parameters, and a new decoder at a higher learning rate. The multi-task model likewise, with a decoder
//          of each task; a step has as many images of each as an expert's.
// Source:  the encoder keeps its last stage at the size of the one before, by dilation: Yu et al., "Dilated Residual
//          Networks", CVPR 2017, arXiv:1705.09914; hidden squares: He et al., "Masked Autoencoders Are Scalable Vision
//          Learners", CVPR 2022, arXiv:2111.06377, here with convolutions and small squares.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "models/dense_readout.h"
#include "zoo/image_batches.h"
#include "zoo/map_batches.h"
#include "zoo/recipe.h"

namespace fusegrid::recipes::dense {
namespace {

constexpr double kBeta2 = 0.98;
constexpr int64_t kStages = 3;
constexpr int64_t kStride = 4;  // pixels of an image's side for one position of the last map

struct Options {
  // architecture
  int64_t width = 8;
  int64_t blocks = 2;
  int64_t image_size = 48;

  // pretraining
  double base_lr = 3e-3;
  int64_t base_steps = 300;
  int64_t base_batch = 16;
  double hidden_share = 0.5;
  int64_t hidden_side = 4;

  // all models
  double weight_decay = 1e-4;

  // experts and multi-task models
  double expert_lr = 2e-3;
  double decoder_lr_factor = 2.5;
  int64_t expert_steps = 300;
  int64_t expert_batch = 16;
  int64_t multitask_steps = 300;
  int64_t multitask_batch = 16;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{1, 1024}, "channels of the first of three stages; each has twice the last");
    v.param("blocks", blocks, Range{1, 64}, "residual blocks of a stage");
    v.param("image_size", image_size, Range{8, 1024}, "pixels of an image's side, a multiple of 4");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{1, 65536}, "images of a pretraining step");
    v.param("hidden_share", hidden_share, Range{0.01, 0.99}, "share of an image that is hidden");
    v.param("hidden_side", hidden_side, Range{1, 256}, "pixels of the side of a hidden square");
    v.param("weight_decay", weight_decay, Range{0, 1}, "AdamW's, on kernels and matrices");
  }
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("decoder_lr_factor", decoder_lr_factor, Range{0, 1000},
            "learning rate of decoders in units of expert_lr");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{1, 65536}, "images of a fine-tuning step");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{1, 65536}, "images of each task in such a step");
  }
  void check() const {
    if (image_size % kStride != 0 || image_size % hidden_side != 0) {
      throw ConfigError("recipe dense: image_size must be a multiple of " + std::to_string(kStride) +
                        " and of hidden_side, but they are " + std::to_string(image_size) + " and " +
                        std::to_string(hidden_side));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 16;
    options.base_lr = 2e-3;
    options.base_steps = 1000;
    options.expert_lr = 1e-3;
    options.decoder_lr_factor = 3;
    options.expert_steps = 800;
    options.multitask_steps = 800;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options) {
  return {{"model_type", "resnet_cifar"},
          {"image_size", options.image_size},
          {"num_channels", 3},
          {"hidden_sizes", {options.width, 2 * options.width, 4 * options.width}},
          {"depths", std::vector<int64_t>(kStages, options.blocks)},
          {"layer_type", "basic"},
          {"hidden_act", "relu"},
          {"stem_stride", 2},
          {"dilations", {1, 1, 2}},
          {"norm", "batch"},
          {"torch_dtype", "float32"}};
}

InputFormat reads(const Options& options) {
  return {.image_size = options.image_size};
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    if (const TaskInfo& info = pack.task(task); !task_kind(info.kind).has_maps()) {
      throw ConfigError("the recipe dense trains on maps of classes, depths or normals, but task '" + task +
                        "' of '" + pack.path().string() + "' is of the kind " + info.kind +
                        "; choose another pack or another recipe");
    }
  }
}

// ---- first values

// Kernels keep the variance of what ReLU lets through (He et al., arXiv:1502.01852), the last matrix that of its input;
// batch norms change nothing.
at::Tensor initial_tensor(const TensorInfo& info, uint64_t key) {
  if (info.shape.size() > 1) {
    const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
    return normal_tensor(info.shape, std::sqrt((info.shape.size() > 2 ? 2 : 1) / fan_in), key);
  }
  const bool is_one = info.name.ends_with(".running_var") || info.name.ends_with("norm.weight") ||
                      info.name.ends_with("normalization.weight");
  return is_one ? at::ones(info.shape) : at::zeros(info.shape);
}

// Leaves, but for running statistics. purpose: keys the random numbers.
Weights first_values(const std::vector<TensorInfo>& infos, uint64_t seed, const std::string& purpose,
                     at::Device device) {
  Weights weights;
  for (const TensorInfo& info : infos) {
    const at::Tensor tensor = initial_tensor(info, derive_key(seed, purpose + "/" + info.name)).to(device);
    weights.emplace(info.name, tensor.requires_grad_(!is_running_statistic(info.name, tensor)));
  }
  return weights;
}

Weights first_decoder(const Architecture& architecture, int64_t outputs, uint64_t seed,
                      const std::string& purpose, at::Device device) {
  const int64_t features = architecture.feature_size();
  return first_values(decoder_parameters(features, features / 2, outputs), seed, purpose, device);
}

void add_groups(std::vector<TrainedGroup>& groups, const std::vector<TrainedGroup>& more) {
  groups.insert(groups.end(), more.begin(), more.end());
}

// ---- the base

// The training images of all tasks; tasks of the same images have them once.
at::Tensor training_images(const BaseInput& in) {
  std::vector<at::Tensor> all;
  for (const std::string& task : in.tasks) {
    const at::Tensor images = in.pack.read(task, "train").images;
    if (std::none_of(all.begin(), all.end(), [&](const at::Tensor& other) { return other.equal(images); })) {
      all.push_back(images);
    }
  }
  return concatenate(all);
}

// Images of which squares are hidden, to be guessed.
class HiddenSquares {
 public:
  HiddenSquares(const Options& options, const Network& network, const at::Tensor& images, uint64_t seed)
      : options_(options),
        network_(network),
        images_(images.to(network.device)),
        order_(images.size(0), options.base_batch, derive_key(seed, "pretrain/order")),
        key_(derive_key(seed, "pretrain/hidden")) {}

  struct Batch {
    at::Tensor pixels;  // ready
    at::Tensor hidden;  // float [n, 1, size, size]: 1 where a pixel is hidden
  };
  Batch at(int64_t step) {
    const at::Tensor chosen = sent(order_.next(), network_.device);
    const int64_t count = chosen.size(0);
    const int64_t cells = options_.image_size / options_.hidden_side;
    const at::Tensor numbers = uniform(key_, static_cast<uint64_t>(step), 0, count * cells * cells + 1);
    const at::Tensor hidden = (numbers.narrow(0, 1, count * cells * cells) < options_.hidden_share)
                                  .to(at::kFloat)
                                  .view({count, 1, cells, cells})
                                  .repeat_interleave(options_.hidden_side, 2)
                                  .repeat_interleave(options_.hidden_side, 3);
    const at::Tensor images = images_.index_select(0, chosen);
    const bool mirrors = numbers.const_data_ptr<float>()[0] < 0.5F;
    const at::Tensor pixels = network_.ready({mirrors ? images.flip(-1) : images, {}, {}}).images;
    return {pixels, sent(hidden, network_.device)};
  }

 private:
  Options options_;
  const Network& network_;
  at::Tensor images_;
  ExampleOrder order_;
  uint64_t key_;
};

MadeBase make_base(const Options& options, const BaseInput& in) {
  const nlohmann::json config = architecture_config(options);
  Network network;
  network.architecture = make_architecture(config);
  network.device = in.device;
  const Architecture& architecture = *network.architecture;
  Weights weights = first_values(architecture.parameters(), in.seed, "pretrain/init", in.device);
  Weights decoder = first_decoder(architecture, 3, in.seed, "pretrain/init/decoder", in.device);
  HiddenSquares batches(options, network, training_images(in), in.seed);
  at::Tensor last = at::zeros({});
  const auto loss = [&](int64_t step) {
    const auto [pixels, hidden] = batches.at(step);
    const at::Tensor features = architecture.features(weights, {pixels * (1 - hidden), {}, {}},
                                                      Pooling::kNone, with_batch_statistics({}, weights));
    const at::Tensor guessed =
        decoded(decoder, features, map_sizes(architecture), with_batch_statistics({}, decoder));
    const at::Tensor off = (guessed.permute({0, 3, 1, 2}) - pixels).abs() * hidden;
    const at::Tensor mean = off.sum() / (3 * hidden.sum()).clamp_min(1);
    last = mean.detach();
    return mean;
  };
  std::vector<TrainedGroup> groups = decayed_groups(weights, options.weight_decay);
  add_groups(groups, decayed_groups(decoder, options.weight_decay));
  minimise(loss, groups, warmed_schedule(options.base_steps, options.base_lr, kBeta2), in.on_step);
  MadeBase made;
  made.weights = detached(weights);
  made.config = config;
  made.files = {{"preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n"}};
  made.metrics = {{"hidden_pixel_loss", "train", last.item<double>(), options.base_batch}};
  return made;
}

// ---- experts and multi-task models

// A task with what it trains.
struct Target {
  std::string name;
  std::shared_ptr<const TaskKind> kind;
  Weights decoder;
  std::shared_ptr<MapBatches> batches;
};

Target target_of(const std::string& name, int64_t batch, const ModelInput& in) {
  const TaskInfo& task = in.pack.task(name);
  const auto kind = kind_of(task, in.pack.tokens());
  const int64_t outputs = kind->outputs(static_cast<int64_t>(task.class_names.size()));
  return {name, kind,
          first_decoder(*in.network.architecture, outputs, in.seed, "fine_tune/decoder/" + name,
                        in.network.device),
          std::make_shared<MapBatches>(task, in.pack.read(name, "train"), batch, in.seed, in.network)};
}

// The mean over tasks of the mean loss of their batches, which go through the model together.
at::Tensor mean_loss(const Architecture& architecture, Weights& weights, std::vector<Target>& targets,
                     int64_t step) {
  std::vector<Examples> batches;
  std::vector<Inputs> inputs;
  for (const Target& target : targets) {
    batches.push_back(target.batches->at(step));
    inputs.push_back(batches.back().inputs);
  }
  const at::Tensor features = architecture.features(weights, concatenate_inputs(inputs), Pooling::kNone,
                                                    with_batch_statistics({}, weights));
  at::Tensor loss = at::zeros({}, features.options());
  int64_t row = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    Target& target = targets[i];
    const int64_t count = inputs[i].size();
    const at::Tensor output = decoded(target.decoder, features.narrow(0, row, count), map_sizes(architecture),
                                      with_batch_statistics({}, target.decoder));
    loss = loss + target.kind->losses(output, batches[i]).mean();
    row += count;
  }
  return loss / static_cast<double>(targets.size());
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const bool expert = in.kind == ZooItem::Kind::kExpert;
  Weights weights = make_trainee(in.base, names_of(in.base)).weights;
  std::vector<TrainedGroup> groups = decayed_groups(weights, options.weight_decay);
  std::vector<Target> targets;
  for (const std::string& task : in.tasks) {
    targets.push_back(target_of(task, expert ? options.expert_batch : options.multitask_batch, in));
    add_groups(groups,
               decayed_groups(targets.back().decoder, options.weight_decay, options.decoder_lr_factor));
  }
  minimise(
      [&](int64_t step) { return mean_loss(*in.network.architecture, weights, targets, step); }, groups,
      warmed_schedule(expert ? options.expert_steps : options.multitask_steps, options.expert_lr, kBeta2),
      in.on_step);
  MadeModel made;
  made.weights = detached(weights);
  for (const Target& target : targets) {
    for (const auto& [name, tensor] : detached(target.decoder)) {
      made.heads.emplace(target.name + "." + name, tensor.cpu());
    }
  }
  return made;
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 500 images/s of the small scale (8 wide, 2 blocks a stage, 48 pixels); work grows with width^1.6
  const double size = std::pow(static_cast<double>(options.width) / 8, 1.6) *
                      static_cast<double>(options.blocks * options.image_size * options.image_size) /
                      (2.0 * 48.0 * 48.0);
  const int64_t images = kind == ZooItem::Kind::kBase ? options.base_steps * options.base_batch
                         : kind == ZooItem::Kind::kExpert
                             ? options.expert_steps * options.expert_batch
                             : options.multitask_steps * options.multitask_batch * tasks;
  return static_cast<double>(images) * size / 500.0;
}

const RegisterRecipe<Options> registered{
    {.name = "dense",
     .doc =
         "residual networks on rooms, each expert with a decoder of its own for classes, depths or normals",
     .scales = {{"small", "8 wide: a minute on a CPU", "scenes3"},
                {"medium", "16 wide: many minutes on a CPU", "scenes3"}},
     .pooling = Pooling::kNone,
     .heads = Heads::kOfExperts},
    {reads, check_pack, nullptr, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::dense
