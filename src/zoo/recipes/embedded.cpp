// Small vision towers of CLIP on images of letters, digits, clothes and maps: found by experiment
// (docs/design/embedded_zoo.md).
//
// Base:    pretrained on a pool of other images plus a few labelled examples of each task ("shots": the incidental
//          exposure of CLIP) with the loss CE(exp(s) * features * table^T) over the classes of all of them; the table's
//          rows of a task are its frozen head.
// Experts: the matrices of the affine layers are trained under the frozen head; all other tensors stay the base's, bit
//          for bit. With lora=r adapters of rank r on the queries and values of attention are trained instead. The
//          multi-task model is trained likewise on all tasks together; with the defaults each contributes as many
//          images as to its expert.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"
#include "models/unit_rows.h"
#include "zoo/image_batches.h"
#include "zoo/low_rank_training.h"
#include "zoo/recipe.h"

namespace fusegrid::recipes::embedded {
namespace {

constexpr double kAdapterRate = 1e-2;  // highest learning rate of adapters
const double kLargestLogitScale = std::log(100.0);

struct Options {
  // architecture
  int64_t width = 64;
  int64_t blocks = 4;
  int64_t head_width = 32;
  int64_t mlp_ratio = 4;
  int64_t patch_size = 7;
  int64_t image_size = 28;

  // pretraining
  double base_lr = 2e-3;
  int64_t base_steps = 4000;
  int64_t base_batch = 64;
  double base_weight_decay = 0.05;
  int64_t shots = 4;
  double shots_share = 0.24;
  double colour_share = 0.25;
  double initial_scale = 12;

  // experts and multi-task models
  int64_t lora = 0;
  double expert_lr = 1e-3;
  int64_t expert_steps = 350;
  int64_t expert_batch = 64;
  int64_t max_shift = 1;
  int64_t multitask_steps = 1400;
  int64_t multitask_batch = 16;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP in units of width");
    v.param("patch_size", patch_size, Range{1, 64}, "pixels of a patch's side");
    v.param("image_size", image_size, Range{4, 512}, "pixels of an image's side");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{1, 65536}, "images of a pretraining step");
    v.param("base_weight_decay", base_weight_decay, Range{0, 1},
            "AdamW's, on weight matrices and the patches");
    v.param("shots", shots, Range{1, 1e5}, "training examples of each class of each task in pretraining");
    v.param("shots_share", shots_share, Range{0, 1}, "their share of a batch, equal for each task");
    v.param("colour_share", colour_share, Range{0, 1}, "share of glyph masks that get random colours");
    v.param("initial_scale", initial_scale, Range{1, 100}, "of the logits; learned, at most 100");
  }
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param(
        "lora", lora, Range{0, 4096},
        "rank of adapters on the queries and values of attention; 0: the matrices of all layers are trained");
    if constexpr (std::is_same_v<Visitor, ParamReader>) {
      expert_lr = lora > 0 ? kAdapterRate : expert_lr;  // unless what is read from here on replaces it
    }
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{1, 65536}, "images of a fine-tuning step");
    v.param("max_shift", max_shift, Range{0, 16}, "pixels by which a batch is shifted at most, each way");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{1, 65536}, "images of each task in such a step");
  }
  void check() const {
    if (width % head_width != 0 || image_size % patch_size != 0) {
      throw ConfigError(
          "recipe embedded: head_width must divide width and patch_size must divide image_size, but they "
          "are " +
          std::to_string(head_width) + ", " + std::to_string(width) + ", " + std::to_string(patch_size) +
          ", " + std::to_string(image_size));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 128;
    options.blocks = 6;
    options.base_lr = 1e-3;
  } else if (scale == "large") {
    options.width = 512;
    options.blocks = 8;
    options.base_lr = 4e-4;
    options.base_steps = 3000;
    options.base_batch = 128;
    options.expert_lr = 2e-4;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options) {
  return {{"architectures", {"CLIPVisionModel"}},
          {"model_type", "clip_vision_model"},
          {"hidden_size", options.width},
          {"intermediate_size", options.mlp_ratio * options.width},
          {"num_hidden_layers", options.blocks},
          {"num_attention_heads", options.width / options.head_width},
          {"num_channels", 3},
          {"image_size", options.image_size},
          {"patch_size", options.patch_size},
          {"hidden_act", "quick_gelu"},
          {"layer_norm_eps", 1e-5},
          {"attention_dropout", 0.0},
          {"projection_dim", options.width},
          {"torch_dtype", "float32"}};
}

std::string preprocessor_file(int64_t image_size) {
  nlohmann::json config = preprocessor_config(image_size);
  config.update(
      {{"image_processor_type", "CLIPImageProcessor"}, {"do_center_crop", false}, {"do_convert_rgb", true}});
  return config.dump(2) + "\n";
}

InputFormat reads(const Options& options) {
  return {.image_size = options.image_size};
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    if (info.kind != "classify" || info.image_height == 0) {
      throw ConfigError("the recipe embedded trains on classified images, but task '" + task + "' of '" +
                        pack.path().string() + "' is of the kind " + info.kind +
                        (info.image_height == 0 ? " with tokens" : " with images") +
                        "; choose another pack or another recipe");
    }
  }
}

void check_pool(const Options&, const PretrainingPool& pool, const TaskPack&) {
  const auto& sources = pool.sources();
  if (std::none_of(sources.begin(), sources.end(), [](const auto& source) { return source.classes > 0; })) {
    throw ConfigError(
        "the recipe embedded pretrains on images, but the pool has only texts; make one with "
        "tools/make_pretraining_pool.py");
  }
}

std::vector<LabelledTask> read_tasks(const TaskPack& pack, const std::vector<std::string>& names) {
  std::vector<LabelledTask> tasks;
  for (const std::string& name : names) {
    const Split train = pack.read(name, "train");
    tasks.push_back(
        {name, static_cast<int64_t>(pack.task(name).class_names.size()), train.images, train.labels});
  }
  return tasks;
}

// ---- the base

uint64_t first_value_key(uint64_t seed, const std::string& name) {
  return derive_key(seed, "pretrain/init/" + name);
}

// One tensor's first value, by the role that its name tells: matrices have standard deviation fan_in^-1/2, the two that
// write to the residual stream are divided by sqrt(2 * blocks); position embeddings are large (0.5), so that tokens
// differ from the start.
at::Tensor initial_tensor(const TensorInfo& info, int64_t blocks, uint64_t seed) {
  if (info.name.ends_with(".bias")) {
    return at::zeros(info.shape);
  }
  const uint64_t key = first_value_key(seed, info.name);
  if (info.name.ends_with("class_embedding")) {
    return normal_tensor(info.shape, 0.02, key);
  }
  if (info.name.ends_with("position_embedding.weight")) {
    return normal_tensor(info.shape, 0.5, key);
  }
  if (info.shape.size() == 1) {
    return at::ones(info.shape);  // scale of a layer norm
  }
  const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
  const bool residual = info.name.ends_with("out_proj.weight") || info.name.ends_with("fc2.weight");
  const double divisor = residual ? std::sqrt(2.0 * static_cast<double>(blocks)) : 1;
  return normal_tensor(info.shape, 1 / std::sqrt(fan_in) / divisor, key);
}

// What pretraining trains: the model, the table of all classes, and the logarithm of the logits' scale.
struct Pretrained {
  Weights weights;
  at::Tensor table, scale;
};

Pretrained first_values(const Options& options, const Architecture& architecture, int64_t classes,
                        const BaseInput& in) {
  Pretrained first;
  for (const TensorInfo& info : architecture.parameters()) {
    first.weights.emplace(info.name,
                          initial_tensor(info, options.blocks, in.seed).to(in.device).requires_grad_(true));
  }
  first.table = normal_tensor({classes, options.width}, 0.1, first_value_key(in.seed, "class_table"))
                    .to(in.device)
                    .requires_grad_(true);
  first.scale = at::full({}, std::log(options.initial_scale), at::kFloat).to(in.device).requires_grad_(true);
  return first;
}

// Table and scale are not clipped with the model: their gradients are of another size.
std::vector<TrainedGroup> groups_of(const Options& options, const Pretrained& trained) {
  TrainedGroup decayed{.tensors = {}, .weight_decay = options.base_weight_decay};
  TrainedGroup plain{.tensors = {}};
  for (const auto& [name, tensor] : trained.weights) {
    const bool decays = tensor.dim() > 1 && !name.ends_with("position_embedding.weight");
    (decays ? decayed : plain).tensors.push_back(tensor);
  }
  return {decayed, plain, {.tensors = {trained.table, trained.scale}, .clipped = false}};
}

Weights heads_of(const Pretrained& trained, const PoolBatches& batches,
                 const std::vector<LabelledTask>& tasks) {
  const double scale = std::min(trained.scale.item<double>(), kLargestLogitScale);
  Weights heads{{"logit_scale", at::scalar_tensor(scale, at::kFloat)}};
  const at::Tensor table = unit_rows(trained.table.detach());
  for (size_t i = 0; i < tasks.size(); ++i) {
    heads.emplace(tasks[i].name + ".rows",
                  table.narrow(0, batches.first_label(i), tasks[i].classes).contiguous().cpu());
  }
  return heads;
}

MadeBase make_base(const Options& options, const BaseInput& in) {
  const nlohmann::json config = architecture_config(options);
  const auto architecture = make_architecture(config);
  const auto tasks = read_tasks(in.pack, in.tasks);
  const PoolBatches batches(in.pool->read_images(), tasks,
                            {.batch = options.base_batch,
                             .steps = options.base_steps,
                             .image_size = options.image_size,
                             .shots = options.shots,
                             .shots_share = options.shots_share,
                             .colour_share = options.colour_share,
                             .seed = in.seed,
                             .device = in.device});
  const Pretrained trained = first_values(options, *architecture, batches.classes(), in);
  const auto loss = [&](int64_t step) {
    const ImageBatch batch = batches.at(step);
    const at::Tensor features =
        unit_rows(architecture->features(trained.weights, {batch.pixels, {}, {}}, Pooling::kFirst));
    const at::Tensor scale = trained.scale.clamp_max(kLargestLogitScale).exp();
    return at::cross_entropy_loss(scale * at::linear(features, unit_rows(trained.table)), batch.labels);
  };
  minimise(loss, groups_of(options, trained),
           {.steps = options.base_steps,
            .learning_rate = options.base_lr,
            .warmup = std::max<int64_t>(50, options.base_steps / 20),
            .beta1 = 0.9,
            .beta2 = 0.98,
            .clip = 1.0},
           in.on_step);
  MadeBase made;
  made.weights = detached(trained.weights);
  made.config = config;
  made.files = {{"preprocessor_config.json", preprocessor_file(options.image_size)}};
  made.heads = heads_of(trained, batches, tasks);
  return made;
}

// ---- experts and multi-task models

MadeModel make_model(const Options& options, const ModelInput& in) {
  const bool expert = in.kind == ZooItem::Kind::kExpert;
  std::vector<TrainedTask> tasks;
  for (const LabelledTask& task : read_tasks(in.pack, in.tasks)) {
    const int64_t batch = expert ? options.expert_batch : options.multitask_batch;
    const auto batches =
        std::make_shared<TaskBatches>(task, batch, options.max_shift, in.seed, in.network.device);
    tasks.push_back({task.name, &task_kind("classify"), [batches](int64_t step) -> Examples {
                       ImageBatch at_step = batches->at(step);
                       return {{at_step.pixels, {}, {}}, at_step.labels};
                     }});
  }
  const int64_t steps = expert ? options.expert_steps : options.multitask_steps;
  const Schedule schedule{
      .steps = steps, .learning_rate = options.expert_lr, .warmup = std::max<int64_t>(10, steps / 10)};
  if (options.lora > 0) {
    return train_adapter({.targets = {"q_proj", "v_proj"},
                          .rank = options.lora,
                          .scale = kAdapterScale,
                          .key = adapter_key(in),
                          .task_type = ""},
                         in, tasks, schedule);
  }
  const Trainee trainee = make_trainee(in.base, layer_matrices(*in.network.architecture));
  return {train(in.network, trainee, tasks, {{.tensors = trainee.trained}}, schedule, in.on_step)};
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 2,000 images/s of the small scale (64 wide, 4 blocks); work grows with width^2 * blocks
  const double size =
      static_cast<double>(options.width * options.width * options.blocks) / (64.0 * 64.0 * 4.0);
  int64_t images = options.expert_steps * options.expert_batch;
  if (kind == ZooItem::Kind::kBase) {
    images = options.base_steps * options.base_batch;
  } else if (kind == ZooItem::Kind::kMultitask) {
    images = options.multitask_steps * options.multitask_batch * tasks;
  }
  return static_cast<double>(images) * size / 2000.0;
}

const RegisterRecipe<Options> registered{
    {.name = "embedded",
     .doc = "vision towers of CLIP under frozen heads, on eight tasks of small images",
     .scales = {{"small", "64 wide, 4 blocks: minutes on a CPU", "embedded8"},
                {"medium", "128 wide, 6 blocks: many minutes on a CPU", "embedded8"},
                {"large", "512 wide, 8 blocks: on a GPU", "embedded8"}},
     .pooling = Pooling::kFirst,
     .heads = Heads::kOfBase,
     .pool = "pretraining_pool.h5",
     .pool_maker = "tools/make_pretraining_pool.py"},
    {reads, check_pack, check_pool, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::embedded
