// Flows that draw letters in styles, of the layout of DiT: experts are cells of a grid, a group of letters in a style,
// and merged models are also asked for cells that no expert was made for (docs/design/flow_zoo.md).
//
// Base:    flow matching on the pictures of all cells, for few steps.
// Experts: all parameters, or low-rank adapters of the layers of attention and feed-forward parts, on the pictures of
//          one cell; the multi-task model on all seen cells.
// Source:  Liu et al., "Flow Straight and Fast", ICLR 2023, arXiv:2209.03003 (the loss); Esser et al., "Scaling
//          Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024, arXiv:2403.03206 (times near
//          the middle are drawn more often); Tam et al., "Realistic Evaluation of Model Merging for Compositional
//          Generalization", arXiv:2409.18314 (the setting).

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "zoo/low_rank_training.h"
#include "zoo/recipe.h"
#include "zoo/sampling.h"

namespace fusegrid::recipes::flow {
namespace {

constexpr double kBeta2 = 0.99;
constexpr int64_t kChannels = 1;  // of a gray picture
const std::vector<std::string> kAdapted{"to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"};

struct Options {
  // architecture
  int64_t width = 64;
  int64_t blocks = 3;
  int64_t head_width = 16;
  int64_t image_size = 16;
  int64_t patch = 4;

  // pretraining
  double base_lr = 3e-3;
  int64_t base_steps = 2400;
  int64_t base_batch = 64;

  // experts and multi-task models
  int64_t seen = 4;
  int64_t lora = 0;
  double expert_lr = 1e-3;
  int64_t expert_steps = 400;
  int64_t expert_batch = 64;
  int64_t multitask_steps = 800;
  int64_t multitask_batch = 32;

  // all models
  double weight_decay = 1e-2;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 4096}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 128}, "transformer blocks");
    v.param("head_width", head_width, Range{2, 256}, "channels of an attention head");
    v.param("image_size", image_size, Range{4, 1024}, "pixels of a picture's side");
    v.param("patch", patch, Range{1, 64}, "pixels of a patch's side");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{1, 65536}, "pictures of a pretraining step");
    v.param("weight_decay", weight_decay, Range{0, 1}, "AdamW's, on matrices");
  }
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("seen", seen, Range{1, 1000}, "cells that there are experts of: the first of the suite");
    v.param("lora", lora, Range{0, 4096},
            "rank of adapters of attention and feed-forward parts, which are trained instead of all "
            "parameters; 0: "
            "none");
    if constexpr (std::is_same_v<Visitor, ParamReader>) {
      expert_lr = lora > 0 ? 5e-3 : expert_lr;  // unless what is read from here on replaces it
    }
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{1, 65536}, "pictures of a fine-tuning step");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{1, 65536}, "pictures of each cell in such a step");
  }
  void check() const {
    if (width % head_width != 0 || width % 4 != 0 || image_size % patch != 0) {
      throw ConfigError(
          "recipe flow: width must be a multiple of head_width and of 4, and image_size of patch, but they "
          "are " +
          std::to_string(width) + ", " + std::to_string(head_width) + ", " + std::to_string(image_size) +
          " and " + std::to_string(patch));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 192;
    options.blocks = 6;
    options.head_width = 32;
    options.patch = 2;
    options.base_lr = 1e-3;
    options.base_steps = 6000;
    options.expert_steps = 600;
    options.multitask_steps = 1200;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options, const TaskInfo& task) {
  return {{"_class_name", "DiTTransformer2DModel"},
          {"model_type", "dit"},
          {"num_attention_heads", options.width / options.head_width},
          {"attention_head_dim", options.head_width},
          {"in_channels", kChannels},
          {"out_channels", kChannels},
          {"num_layers", options.blocks},
          {"sample_size", options.image_size},
          {"patch_size", options.patch},
          {"num_embeds_ada_norm", task.class_names.size() + task.style_names.size()},
          {"attention_bias", true},
          {"activation_fn", "gelu-approximate"},
          {"norm_type", "ada_norm_zero"},
          {"norm_elementwise_affine", false},
          {"norm_eps", 1e-5},
          {"torch_dtype", "float32"}};
}

// What may be asked for is the pack's, which is not known here.
InputFormat reads(const Options& options) {
  return {.state_size = options.image_size,
          .state_channels = kChannels,
          .conditions = std::numeric_limits<int64_t>::max()};
}

TrainedTasks trained(const Options& options, const std::vector<std::string>& cells) {
  const std::vector<std::string> seen = first_tasks(cells, options.seen);
  return {seen, seen};
}

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    const std::string what = "task '" + task + "' of '" + pack.path().string() + "'";
    if (!task_kind(info.kind).has_states()) {
      throw ConfigError("the recipe flow trains models that make pictures, but " + what + " is of the kind " +
                        info.kind + "; choose another pack or another recipe");
    }
    if (info.image_height != options.image_size || info.image_width != options.image_size) {
      throw ConfigError("the pictures of " + what +
                        " must have image_size x image_size pixels, but they have " +
                        std::to_string(info.image_height) + " x " + std::to_string(info.image_width));
    }
    const TaskInfo& first = pack.task(tasks.front());
    if (info.class_names != first.class_names || info.style_names != first.style_names) {
      throw ConfigError(
          "one flow makes the pictures of all tasks, which must have the same classes and styles, but " +
          what + " and '" + first.name + "' differ");
    }
  }
}

// ---- first values

// Matrices keep the variance of their input; what modulates and the velocity begin at 0, so that each block begins as
// nothing (adaLN-Zero).
at::Tensor first_value(const TensorInfo& info, uint64_t key) {
  const bool begins_at_zero = info.shape.size() < 2 || info.name.ends_with("norm1.linear.weight") ||
                              info.name.starts_with("proj_out_");
  if (begins_at_zero) {
    return at::zeros(info.shape);
  }
  constexpr double kRow = 0.3;  // of what is asked for
  const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
  return normal_tensor(info.shape,
                       info.name.ends_with("embedding_table.weight") ? kRow : 1 / std::sqrt(fan_in), key);
}

// ---- training

// The pictures of some cells, a batch of which is put on its way from noise.
class FlowBatches {
 public:
  // purpose: keys the random numbers.
  FlowBatches(const TaskPack& pack, const std::vector<std::string>& cells, int64_t batch, uint64_t seed,
              const std::string& purpose, const Network& network)
      : network_(network), key_(derive_key(seed, purpose + "/noise")) {
    std::vector<at::Tensor> pictures, conditions;
    for (const std::string& cell : cells) {
      const Split split = pack.read(cell, "train");
      pictures.push_back(split.images);
      conditions.push_back(split.conditions);
    }
    pictures_ = (concatenate(pictures).to(at::kFloat) / 127.5 - 1).to(network.device);
    conditions_ = concatenate(conditions).to(network.device);
    order_.emplace(pictures_.size(0), batch, derive_key(seed, purpose + "/order"));
  }
  // Steps in order, each once.
  Examples at(int64_t step) {
    const at::Tensor chosen = sent(order_->next(), network_.device);
    Examples batch;
    batch.pictures = pictures_.index_select(0, chosen);
    const int64_t count = chosen.size(0), pixels = batch.pictures.numel();
    // a time and the noise of each, in one stream of normal numbers
    const at::Tensor numbers =
        sent(normal(key_, static_cast<uint64_t>(step), 0, count + pixels), network_.device);
    const at::Tensor noise = numbers.narrow(0, count, pixels).view(batch.pictures.sizes());
    batch.velocities = batch.pictures - noise;
    batch.inputs.time = at::sigmoid(numbers.narrow(0, 0, count));
    batch.inputs.state = noise + batch.inputs.time.view({-1, 1, 1, 1}) * batch.velocities;
    batch.inputs.condition = conditions_.index_select(0, chosen);
    return batch;
  }

 private:
  const Network& network_;
  uint64_t key_;
  at::Tensor pictures_, conditions_;
  std::optional<ExampleOrder> order_;
};

MadeBase make_base(const Options& options, const BaseInput& in) {
  const nlohmann::json config = architecture_config(options, in.pack.task(in.tasks.front()));
  Network network;
  network.architecture = make_architecture(config);
  network.device = in.device;
  Weights first;
  for (const TensorInfo& info : network.architecture->parameters()) {
    first.emplace(info.name,
                  first_value(info, derive_key(in.seed, "pretrain/init/" + info.name)).to(in.device));
  }
  const Trainee trainee = make_trainee(first, names_of(first));
  FlowBatches batches(in.pack, in.tasks, options.base_batch, in.seed, "pretrain", network);
  const TaskKind& kind = task_kind("sample");
  at::Tensor last = at::zeros({});
  const auto loss = [&](int64_t step) {
    const Examples batch = batches.at(step);
    const at::Tensor output = network.architecture->features(trainee.weights, batch.inputs, Pooling::kNone);
    const at::Tensor mean = kind.losses(output, batch).mean();
    last = mean.detach();
    return mean;
  };
  minimise(loss, decayed_groups(trainee.weights, options.weight_decay),
           warmed_schedule(options.base_steps, options.base_lr, kBeta2), in.on_step);
  MadeBase made;
  made.weights = detached(trainee.weights);
  made.config = config;
  made.metrics = {{"flow_matching_loss", "train", last.item<double>(), options.base_batch}};
  return made;
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const bool expert = in.kind == ZooItem::Kind::kExpert;
  const int64_t batch = expert ? options.expert_batch : options.multitask_batch;
  std::vector<TrainedTask> tasks;
  for (const std::string& cell : in.tasks) {
    const auto batches = std::make_shared<FlowBatches>(in.pack, std::vector{cell}, batch, in.seed,
                                                       "fine_tune/" + cell, in.network);
    tasks.push_back({cell, &task_kind("sample"), [batches](int64_t step) { return batches->at(step); }});
  }
  const Schedule schedule =
      warmed_schedule(expert ? options.expert_steps : options.multitask_steps, options.expert_lr, kBeta2);
  if (options.lora == 0) {
    const Trainee trainee = make_trainee(in.base, names_of(in.base));
    return {.weights = train(in.network, trainee, tasks,
                             decayed_groups(trainee.weights, options.weight_decay), schedule, in.on_step)};
  }
  return train_adapter({.targets = kAdapted,
                        .rank = options.lora,
                        .key = derive_key(in.seed, "fine_tune/adapter"),
                        .task_type = ""},
                       in, tasks, schedule);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 600 pictures/s of the small scale (64 wide, 3 blocks, 16 patches)
  const double side = static_cast<double>(options.image_size) / static_cast<double>(options.patch);
  const double size = std::pow(static_cast<double>(options.width) / 64, 1.6) *
                      static_cast<double>(options.blocks) / 3 * side * side / 16;
  const int64_t pictures = kind == ZooItem::Kind::kBase ? options.base_steps * options.base_batch
                           : kind == ZooItem::Kind::kExpert
                               ? options.expert_steps * options.expert_batch
                               : options.multitask_steps * options.multitask_batch * tasks;
  return static_cast<double>(pictures) * size / 600.0;
}

const RegisterRecipe<Options> registered{
    {.name = "flow",
     .doc = "flows of the layout of DiT that draw letters in styles; experts are cells of the grid of both",
     .scales = {{"small", "64 wide, 3 blocks: minutes on a CPU", "glyphs16"},
                {"medium", "192 wide, 6 blocks, patches of 2 pixels: on a GPU", "glyphs16"}},
     .pooling = Pooling::kNone,
     .heads = Heads::kInside},
    {reads, check_pack, nullptr, make_base, make_model, seconds, trained}};

}  // namespace
}  // namespace fusegrid::recipes::flow
