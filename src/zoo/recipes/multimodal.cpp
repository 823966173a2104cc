// One tower that reads pictures and tokens, of BEiT-3's layout, on composed scenes (docs/design/multimodal_zoo.md).
//
// Base:    from nothing, on the tasks of the experts in turn, each step on a batch of one: captions and pairs more
//          often than questions, as published bases read them. The heads of questions are trained with it.
// Experts: all parameters, on one task: pairs that find each other, captions, or one kind of question. The multi-task
//          model on a batch of each task in a step.
// Heads:   those of questions are the base's, frozen; captions have the model's own, and pairs need none with weights.
// Source:  Wang et al., "Image as a Foreign Language", CVPR 2023, arXiv:2208.10442 (the tower and its kinds of task);
//          Huang et al., "EMR-Merging", NeurIPS 2024, arXiv:2405.17461, section 4.3 (its experts as a zoo).

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "models/tower_readout.h"
#include "zoo/examples.h"
#include "zoo/image_batches.h"
#include "zoo/recipe.h"
#include "zoo/sampling.h"

namespace fusegrid::recipes::multimodal {
namespace {

constexpr auto kScale = "logit_scale";
constexpr double kBeta2 = 0.98;
constexpr double kFirstScale = 14;  // of similarities
const double kLargestLogScale = std::log(100.0);

struct Options {
  // architecture
  int64_t width = 64;
  int64_t blocks = 3;
  int64_t head_width = 16;
  int64_t mlp_ratio = 2;
  int64_t patch = 8;
  int64_t image_size = 32;
  int64_t positions = 24;

  // pretraining
  double base_lr = 3e-3;
  int64_t base_steps = 1500;
  int64_t base_batch = 64;
  int64_t captions = 4;
  int64_t pairs = 2;

  // all models
  double weight_decay = 0.05;

  // experts and multi-task models
  double expert_lr = 5e-4;
  int64_t expert_steps = 200;
  int64_t expert_batch = 64;
  int64_t multitask_steps = 200;
  int64_t multitask_batch = 32;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP of each sense in units of width");
    v.param("patch", patch, Range{1, 1024}, "pixels of a patch's side");
    v.param("image_size", image_size, Range{1, 1024}, "pixels of an image's side");
    v.param("positions", positions, Range{2, 65536}, "tokens of the longest row that a model reads");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{2, 65536}, "examples of a pretraining step");
    v.param("captions", captions, Range{1, 100}, "steps on captions for one on each kind of question");
    v.param("pairs", pairs, Range{1, 100}, "steps on pairs for one on each kind of question");
    v.param("weight_decay", weight_decay, Range{0, 1}, "AdamW's, on matrices and embeddings");
  }
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{2, 65536}, "examples of a step of fine-tuning");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{2, 65536}, "examples of each task in such a step");
  }
  void check() const {
    if (width % head_width != 0) {
      throw ConfigError("recipe multimodal: head_width must divide width, but they are " +
                        std::to_string(head_width) + " and " + std::to_string(width));
    }
    if (patch > image_size) {
      throw ConfigError("recipe multimodal: patch must be at most image_size, but they are " +
                        std::to_string(patch) + " and " + std::to_string(image_size));
    }
  }
  int64_t steps_for_one(const TaskKind& kind) const {
    return kind.has_tokens() ? captions : kind.has_classes() ? 1 : pairs;
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 192;
    options.blocks = 6;
    options.head_width = 32;
    options.mlp_ratio = 4;
    options.base_lr = 1e-3;
    options.base_steps = 10000;
    options.base_batch = 256;
    options.expert_lr = 2.5e-4;
    options.expert_steps = 1000;
    options.expert_batch = 256;
    options.multitask_steps = 1000;
    options.multitask_batch = 128;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options, const TokenTable& table) {
  constexpr int64_t kUnread = 2;  // rows of the table of positions, as torchscale counts
  return {{"architectures", {"BEiT3"}},
          {"model_type", "beit3"},
          {"shared_attention", true},
          {"encoder_embed_dim", options.width},
          {"encoder_ffn_embed_dim", options.mlp_ratio * options.width},
          {"encoder_layers", options.blocks},
          {"encoder_attention_heads", options.width / options.head_width},
          {"img_size", options.image_size},
          {"patch_size", options.patch},
          {"vocab_size", table.size()},
          {"max_source_positions", options.positions + kUnread},
          {"torch_dtype", "float32"}};
}

InputFormat reads(const Options& options) {
  return {.image_size = options.image_size,
          .positions = options.positions,
          .with_answer = true,
          .together = true};
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    const TaskKind& kind = task_kind(info.kind);
    const bool is_known = info.pairs || kind.has_classes() || kind.has_tokens();
    if (!is_known || info.image_height == 0 || info.longest_row == 0) {
      throw ConfigError(
          "the recipe multimodal asks for pictures with tokens: pairs, questions with classes or "
          "captions, but task '" +
          task + "' of '" + pack.path().string() + "' is of the kind " + info.kind +
          (info.image_height == 0 ? " without images" : " on images alone") +
          "; choose another pack or another recipe");
    }
  }
}

// ---- first values

// Matrices have standard deviation fan_in^-1/2, those that write to a residual stream divided by sqrt(2 * blocks).
// Positions are about as large as what stands there, else questions about places are learned far later.
at::Tensor initial_tensor(const TensorInfo& info, const Options& options, uint64_t seed) {
  constexpr double kEmbedding = 0.3;
  if (info.name == kScale) {
    return at::full({}, std::log(kFirstScale), at::kFloat);
  }
  if (info.name.ends_with(".bias") || info.name.ends_with("cls_token")) {
    return at::zeros(info.shape);
  }
  if (info.shape.size() == 1) {
    return at::ones(info.shape);  // scale of a layer norm
  }
  const uint64_t key = derive_key(seed, "pretrain/init/" + info.name);
  if (role_of(info) == Role::kEmbedding && info.shape.size() == 2) {
    return normal_tensor(info.shape, kEmbedding, key);
  }
  const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
  const bool writes = info.name.ends_with("out_proj.weight") || info.name.ends_with("fc2.weight");
  const double divisor = writes ? std::sqrt(2.0 * static_cast<double>(options.blocks)) : 1;
  return normal_tensor(info.shape, 1 / std::sqrt(fan_in) / divisor, key);
}

// ---- training

// Batches of a task's training examples.
class Batches {
 public:
  Batches(const std::string& task, const TaskPack& pack, int64_t batch, const std::string& purpose,
          uint64_t seed)
      : task_(task),
        kind_(task_kind(pack.task(task).kind)),
        examples_(examples_of(pack.read(task, "train"), pack.tokens(), at::kCPU)),
        order_(examples_.inputs.size(), batch, derive_key(seed, purpose + "/order/" + task)) {}

  const TaskKind& kind() const { return kind_; }
  // The mean of the next batch.
  at::Tensor loss(const Network& network, const Weights& weights) {
    const at::Tensor chosen = order_.next();
    const Examples batch =
        examples_.at(chosen, network.ready(examples_.inputs.select(chosen))).to(network.device);
    Weights bounded = weights;
    bounded[kScale] = weights.at(kScale).clamp_max(kLargestLogScale);
    return kind_.losses(network.output(bounded, kind_.taught(batch), task_), batch).mean();
  }

 private:
  std::string task_;
  const TaskKind& kind_;
  Examples examples_;
  ExampleOrder order_;
};

std::vector<Batches> batches_of(const std::vector<std::string>& tasks, const TaskPack& pack, int64_t batch,
                                const std::string& purpose, uint64_t seed) {
  std::vector<Batches> all;
  for (const std::string& task : tasks) {
    all.emplace_back(task, pack, batch, purpose, seed);
  }
  return all;
}

// The mean over the tasks of the losses of their next batches.
at::Tensor mean_loss(const Network& network, const Weights& weights, std::vector<Batches>& tasks) {
  at::Tensor loss = tasks.front().loss(network, weights);
  for (size_t i = 1; i < tasks.size(); ++i) {
    loss = loss + tasks[i].loss(network, weights);
  }
  return loss / static_cast<double>(tasks.size());
}

// Those that a loss depends on: a question reads no head of captions.
std::set<std::string> names_behind(const at::Tensor& loss, const Weights& weights) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : weights) {
    tensors.push_back(tensor);
  }
  const auto gradients = torch::autograd::grad({loss}, tensors, {}, /*retain_graph=*/false,
                                               /*create_graph=*/false, /*allow_unused=*/true);
  std::set<std::string> names;
  auto gradient = gradients.begin();
  for (const auto& [name, tensor] : weights) {
    if ((gradient++)->defined()) {
      names.insert(name);
    }
  }
  return names;
}

// The loss with a gradient of 0 for what it does not depend on.
at::Tensor reaching(at::Tensor loss, const Weights& weights) {
  for (const auto& [name, tensor] : weights) {
    loss = loss + tensor.sum() * 0;
  }
  return loss;
}

Weights finished(const Weights& trained) {
  Weights weights = detached(trained);
  weights[kScale] = weights.at(kScale).clamp_max(kLargestLogScale);
  return weights;
}

// The tasks of pretraining, each as often as its kind asks for, one after the other in a mixed order.
std::vector<size_t> turns(const std::vector<Batches>& tasks, const Options& options, uint64_t seed) {
  std::vector<size_t> all;
  for (size_t i = 0; i < tasks.size(); ++i) {
    all.insert(all.end(), static_cast<size_t>(options.steps_for_one(tasks[i].kind())), i);
  }
  std::vector<size_t> mixed;
  for (const int64_t place :
       permutation(derive_key(seed, "pretrain/turns"), 0, static_cast<int64_t>(all.size()))) {
    mixed.push_back(all[static_cast<size_t>(place)]);
  }
  return mixed;
}

MadeBase make_base(const Options& options, const BaseInput& in) {
  MadeBase made;
  made.config = architecture_config(options, *in.pack.tokens());
  Network network;
  network.architecture = make_architecture(made.config);
  network.device = in.device;
  Weights trained;
  for (const TensorInfo& info : network.architecture->parameters()) {
    trained.emplace(info.name, initial_tensor(info, options, in.seed).to(in.device).requires_grad_(true));
  }
  const Weights weights = trained;
  for (const std::string& task : in.tasks) {
    const TaskInfo& info = in.pack.task(task);
    if (info.pairs) {
      network.readouts[task] = pair_readout(options.width);
      made.heads.emplace(task + ".pairs", at::ones({1}));
    } else if (task_kind(info.kind).has_tokens()) {
      network.readouts[task] =
          own_readout(*network.architecture->own_head(), options.width, in.pack.tokens()->size());
    } else {
      const auto classes = static_cast<int64_t>(info.class_names.size());
      const uint64_t key = derive_key(in.seed, "pretrain/head/" + task);
      const at::Tensor weight = normal_tensor({classes, options.width}, 0.02, key).to(in.device);
      const at::Tensor bias = at::zeros({classes}).to(in.device);
      trained.emplace(task + ".weight", weight.requires_grad_(true));
      trained.emplace(task + ".bias", bias.requires_grad_(true));
      network.readouts[task] = affine_readout(weight, bias, Pooling::kFirst);
      // the same numbers, which training changes
      made.heads.emplace(task + ".weight", weight.detach());
      made.heads.emplace(task + ".bias", bias.detach());
    }
  }
  std::vector<Batches> tasks = batches_of(in.tasks, in.pack, options.base_batch, "pretrain", in.seed);
  const std::vector<size_t> order = turns(tasks, options, in.seed);
  minimise(
      [&](int64_t step) {
        Batches& task = tasks[order[static_cast<size_t>(step) % order.size()]];
        return reaching(task.loss(network, weights), trained);
      },
      decayed_groups(trained, options.weight_decay),
      warmed_schedule(options.base_steps, options.base_lr, kBeta2), in.on_step);
  made.weights = finished(weights);
  made.files = {{"preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n"},
                {"tokenizer.json", in.pack.tokens()->tokenizer}};
  return made;
}

// What no task of a model reads stays the base's.
MadeModel make_model(const Options& options, const ModelInput& in) {
  const bool expert = in.kind == ZooItem::Kind::kExpert;
  const int64_t batch = expert ? options.expert_batch : options.multitask_batch;
  const Weights whole = make_trainee(in.base, names_of(in.base)).weights;
  std::vector<Batches> first = batches_of(in.tasks, in.pack, batch, "fine_tune", in.seed);
  const Weights weights =
      make_trainee(in.base, names_behind(mean_loss(in.network, whole, first), whole)).weights;
  std::vector<Batches> tasks = batches_of(in.tasks, in.pack, batch, "fine_tune", in.seed);
  minimise(
      [&](int64_t) { return mean_loss(in.network, weights, tasks); },
      decayed_groups(weights, options.weight_decay),
      warmed_schedule(expert ? options.expert_steps : options.multitask_steps, options.expert_lr, kBeta2),
      in.on_step);
  return {.weights = finished(weights)};
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 1,250 examples/s of the small scale (64 wide, 3 blocks); work grows with width^2 * blocks
  const double size =
      static_cast<double>(options.width * options.width * options.blocks) / (64.0 * 64.0 * 3.0);
  const int64_t examples = kind == ZooItem::Kind::kBase ? options.base_steps * options.base_batch
                           : kind == ZooItem::Kind::kExpert
                               ? options.expert_steps * options.expert_batch
                               : options.multitask_steps * options.multitask_batch * tasks;
  return static_cast<double>(examples) * size / 1250.0;
}

const RegisterRecipe<Options> registered{
    {.name = "multimodal",
     .doc = "towers of BEiT-3's layout, which read pictures and tokens together",
     .scales = {{"small", "64 wide, 3 blocks: minutes on a CPU", "composed6"},
                {"medium", "192 wide, 6 blocks: on a GPU", "composed6"}},
     .pooling = Pooling::kFirst,
     .heads = Heads::kOfBase,
     .makes_tokens = true},
    {reads, check_pack, nullptr, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::multimodal
