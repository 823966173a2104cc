// CLIPs of two small towers on pictures of emoji with their names (docs/design/two_towers_zoo.md).
//
// Base:    from nothing, contrastively on the pictures and names of one task (Noto, English), behind those of experts,
//          and now and then on a batch of theirs: it has met what experts are made for, as published bases have.
// Experts: all of both towers, the projections and the scale, contrastively on the pairs of one task. The multi-task
//          model on those of all of them: each task finds its pairs among its own batch.
// Heads:   none with weights: pairs are compared with each other, and zero-shot tasks are answered under the prompts of
//          the pack, of which the model that is asked makes the rows.
// Source:  Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
//          arXiv:2103.00020, section 2.3 (the loss).

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"
#include "models/tower_readout.h"
#include "zoo/examples.h"
#include "zoo/image_batches.h"
#include "zoo/recipe.h"
#include "zoo/sampling.h"

namespace fusegrid::recipes::two_towers {
namespace {

constexpr auto kScale = "logit_scale";
constexpr auto kKind = "retrieve";
constexpr double kBeta2 = 0.98;
const double kLargestLogScale = std::log(100.0);

struct Options {
  // architecture
  int64_t width = 64;
  int64_t blocks = 3;
  int64_t head_width = 16;
  int64_t mlp_ratio = 2;
  int64_t embedding = 64;
  int64_t patch = 8;
  int64_t image_size = 32;
  int64_t positions = 32;

  // pretraining
  int64_t seen = 5;
  double base_lr = 2e-3;
  int64_t base_steps = 400;
  int64_t base_batch = 128;
  double exposure = 0.3;

  // all models
  double weight_decay = 0.05;
  double initial_scale = 14;
  int64_t shift = 2;

  // experts and multi-task models
  double expert_lr = 5e-4;
  int64_t expert_steps = 150;
  int64_t expert_batch = 128;
  int64_t multitask_steps = 200;
  int64_t multitask_batch = 64;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states of both towers");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks of each tower");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP in units of width");
    v.param("embedding", embedding, Range{2, 8192}, "channels of the space of both towers");
    v.param("patch", patch, Range{1, 1024}, "pixels of a patch's side");
    v.param("image_size", image_size, Range{1, 1024}, "pixels of an image's side");
    v.param("positions", positions, Range{2, 65536}, "tokens of the longest row that a model reads");
    v.param("seen", seen, Range{1, 1000},
            "tasks of pairs that there are experts of: the first ones; the base is pretrained on the next");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{2, 65536}, "pairs of a pretraining step");
    v.param("exposure", exposure, Range{0, 1},
            "share of pretraining steps on pairs of the experts' tasks, in turn");
    v.param("weight_decay", weight_decay, Range{0, 1}, "AdamW's, on matrices and embeddings");
    v.param("initial_scale", initial_scale, Range{1, 100}, "of similarities; learned, at most 100");
    v.param("shift", shift, Range{0, 64}, "pixels that a batch of images is moved by, at most");
  }
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{2, 65536}, "pairs of a fine-tuning step");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multi-task model");
    v.param("multitask_batch", multitask_batch, Range{2, 65536}, "pairs of each task in such a step");
  }
  void check() const {
    if (width % head_width != 0) {
      throw ConfigError("recipe two_towers: head_width must divide width, but they are " +
                        std::to_string(head_width) + " and " + std::to_string(width));
    }
    if (patch > image_size) {
      throw ConfigError("recipe two_towers: patch must be at most image_size, but they are " +
                        std::to_string(patch) + " and " + std::to_string(image_size));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 128;
    options.blocks = 4;
    options.head_width = 32;
    options.mlp_ratio = 4;
    options.embedding = 128;
    options.base_lr = 1e-3;
    options.base_steps = 3000;
    options.base_batch = 256;
    options.expert_lr = 2.5e-4;
    options.expert_steps = 750;
    options.expert_batch = 256;
    options.multitask_steps = 2000;
    options.multitask_batch = 256;
  }
  return options;
}

// The id of a special token by its name.
int64_t special_id(const TokenTable& table, const std::string& name) {
  for (const int64_t id : table.special) {
    if (table.entries[static_cast<size_t>(id)] == name) {
      return id;
    }
  }
  throw ConfigError("the recipe two_towers reads rows that end with '" + name +
                    "', but the pack has no such token; make it with tools/make_pairs_pack.py");
}

nlohmann::json architecture_config(const Options& options, const TokenTable& table) {
  const nlohmann::json tower{
      {"hidden_size", options.width},        {"intermediate_size", options.mlp_ratio * options.width},
      {"num_hidden_layers", options.blocks}, {"num_attention_heads", options.width / options.head_width},
      {"hidden_act", "quick_gelu"},          {"layer_norm_eps", 1e-5},
      {"projection_dim", options.embedding}};
  nlohmann::json vision = tower, text = tower;
  vision.update(nlohmann::json{{"model_type", "clip_vision_model"},
                               {"image_size", options.image_size},
                               {"patch_size", options.patch}});
  text.update(nlohmann::json{{"model_type", "clip_text_model"},
                             {"vocab_size", table.size()},
                             {"max_position_embeddings", options.positions},
                             {"bos_token_id", special_id(table, "<cls>")},
                             {"eos_token_id", special_id(table, "</s>")},
                             {"pad_token_id", table.pad}});
  return {{"architectures", {"CLIPModel"}}, {"model_type", "clip"},
          {"merged_towers", "both"},        {"projection_dim", options.embedding},
          {"vision_config", vision},        {"text_config", text},
          {"torch_dtype", "float32"}};
}

InputFormat reads(const Options& options) {
  return {.image_size = options.image_size, .positions = options.positions};
}

bool is_pairs(const TaskPack& pack, const std::string& task) {
  return pack.task(task).kind == kKind;
}

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& tasks) {
  const std::string where = "of '" + pack.path().string() + "' ";
  for (const std::string& task : tasks) {
    const TaskInfo& info = pack.task(task);
    if (!is_pairs(pack, task) && !info.attributes.contains("prompts")) {
      throw ConfigError("the recipe two_towers asks for pairs, or for classes with prompts, but task '" +
                        task + "' " + where + "is of the kind " + info.kind +
                        " without prompts; choose another pack or another recipe");
    }
  }
  const auto first = tasks.begin(),
             end =
                 std::find_if_not(first, tasks.end(), [&](const auto&task) { return is_pairs(pack, task); });
  if (end - first <= options.seen) {
    throw ConfigError("of the first tasks of the zoo, seen=" + std::to_string(options.seen) +
                      " and one more must be of pairs, but the tasks " + where + "begin with " +
                      std::to_string(end - first) + " of pairs; set seen to less");
  }
}

// ---- first values

// Matrices have standard deviation fan_in^-1/2, those that write to a residual stream divided by sqrt(2 * blocks).
at::Tensor initial_tensor(const TensorInfo& info, const Options& options, uint64_t seed) {
  if (info.name == kScale) {
    return at::full({}, std::log(options.initial_scale), at::kFloat);
  }
  if (info.name.ends_with(".bias")) {
    return at::zeros(info.shape);
  }
  const uint64_t key = derive_key(seed, "pretrain/init/" + info.name);
  const bool is_patches = info.name.ends_with("patch_embedding.weight");
  if (info.name.find("embedding") != std::string::npos && !is_patches) {
    return normal_tensor(info.shape, 0.05, key);
  }
  if (info.shape.size() == 1) {
    return at::ones(info.shape);  // scale of a layer norm
  }
  const double fan_in = static_cast<double>(info.numel()) / static_cast<double>(info.shape.front());
  const bool writes = info.name.ends_with("out_proj.weight") || info.name.ends_with("fc2.weight");
  const double divisor = writes ? std::sqrt(2.0 * static_cast<double>(options.blocks)) : 1;
  return normal_tensor(info.shape, 1 / std::sqrt(fan_in) / divisor, key);
}

// ---- training

// Batches of a task's training pairs; the images of a batch are moved together.
class Pairs {
 public:
  Pairs(const std::string& task, const TaskPack& pack, int64_t batch, const Options& options,
        const std::string& purpose, uint64_t seed, const Network& network)
      : examples_(examples_of(pack.read(task, "train"), pack.tokens(), at::kCPU)),
        order_(examples_.inputs.size(), batch, derive_key(seed, purpose + "/order/" + task)),
        shift_(options.shift),
        shift_key_(derive_key(seed, purpose + "/shift/" + task)),
        network_(network) {}

  Examples at(int64_t step) {
    const at::Tensor chosen = order_.next();
    Inputs inputs = examples_.inputs.select(chosen);
    const auto numbers = philox(shift_key_, static_cast<uint64_t>(step), 0);
    const auto moved = [&](uint32_t number) {
      return static_cast<int64_t>(number % static_cast<uint32_t>(2 * shift_ + 1)) - shift_;
    };
    inputs.images = inputs.images.roll({moved(numbers[0]), moved(numbers[1])}, {2, 3});
    return {.inputs = network_.ready(inputs)};
  }

 private:
  Examples examples_;
  ExampleOrder order_;
  int64_t shift_;
  uint64_t shift_key_;
  const Network& network_;
};

at::Tensor contrastive_loss(const Architecture& architecture, const Weights& weights, const Examples& batch) {
  const auto readout = pair_readout(architecture.feature_size());
  const Weights scale{{kScale, weights.at(kScale).clamp_max(kLargestLogScale)}};
  const at::Tensor features = architecture.features(weights, batch.inputs, readout->pooling());
  return task_kind(kKind).losses((*readout)(scale, features), batch).mean();
}

// The mean over tasks of the losses of their batches.
at::Tensor mean_loss(const Architecture& architecture, const Weights& weights, std::vector<Pairs>& tasks,
                     int64_t step) {
  at::Tensor loss;
  for (Pairs& pairs : tasks) {
    const at::Tensor of_task = contrastive_loss(architecture, weights, pairs.at(step));
    loss = loss.defined() ? loss + of_task : of_task;
  }
  return loss / static_cast<double>(tasks.size());
}

Weights finished(const Weights& trained) {
  Weights weights = detached(trained);
  weights[kScale] = weights.at(kScale).clamp_max(kLargestLogScale);
  return weights;
}

// ---- heads

Weights prompts_of(const TaskPack& pack, const std::string& task) {
  const auto rows =
      pack.task(task).attributes.at("prompts").get<std::vector<std::vector<std::vector<int64_t>>>>();
  const auto classes = static_cast<int64_t>(rows.size()), each = static_cast<int64_t>(rows.front().size());
  int64_t longest = 0;
  for (const auto& of_class : rows) {
    for (const auto& row : of_class) {
      longest = std::max(longest, static_cast<int64_t>(row.size()));
    }
  }
  const int64_t width = token_width(longest);
  at::Tensor tokens = at::full({classes, each, width}, pack.tokens()->pad, at::kLong);
  at::Tensor lengths = at::zeros({classes, each}, at::kLong);
  auto* to = tokens.mutable_data_ptr<int64_t>();
  auto* length = lengths.mutable_data_ptr<int64_t>();
  for (const auto& of_class : rows) {
    for (const auto& row : of_class) {
      std::copy(row.begin(), row.end(), to);
      to += width;
      *length++ = static_cast<int64_t>(row.size());
    }
  }
  return {{task + ".prompts", tokens}, {task + ".prompt_lengths", lengths}};
}

Weights heads_of_tasks(const TaskPack& pack, const std::vector<std::string>& tasks) {
  Weights heads;
  for (const std::string& task : tasks) {
    if (is_pairs(pack, task)) {
      heads.emplace(task + ".pairs", at::ones({1}));
    } else {
      heads.merge(prompts_of(pack, task));
    }
  }
  return heads;
}

// ---- models

MadeBase make_base(const Options& options, const BaseInput& in) {
  MadeBase made;
  made.config = architecture_config(options, *in.pack.tokens());
  Network network;
  network.architecture = make_architecture(made.config);
  network.device = in.device;
  Weights weights;
  for (const TensorInfo& info : network.architecture->parameters()) {
    weights.emplace(info.name, initial_tensor(info, options, in.seed).to(in.device).requires_grad_(true));
  }
  std::vector<Pairs> tasks;  // of experts, and the base's own
  for (size_t i = 0; i <= static_cast<size_t>(options.seen); ++i) {
    tasks.emplace_back(in.tasks.at(i), in.pack, options.base_batch, options, "pretrain", in.seed, network);
  }
  double last = 0;
  const auto loss = [&](int64_t step) {
    const auto of_experts = [&](int64_t steps) {
      return static_cast<int64_t>(options.exposure * static_cast<double>(steps));
    };
    const bool is_of_expert = of_experts(step + 1) > of_experts(step);
    Pairs& pairs = is_of_expert ? tasks[static_cast<size_t>(of_experts(step) % options.seen)] : tasks.back();
    at::Tensor mean = contrastive_loss(*network.architecture, weights, pairs.at(step));
    if (step + 1 == options.base_steps) {
      last = mean.item<double>();
    }
    return mean;
  };
  minimise(loss, decayed_groups(weights, options.weight_decay),
           warmed_schedule(options.base_steps, options.base_lr, kBeta2), in.on_step);
  made.weights = finished(weights);
  made.files = {{"preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n"},
                {"tokenizer.json", in.pack.tokens()->tokenizer}};
  made.heads = heads_of_tasks(in.pack, in.tasks);
  made.metrics = {{"contrastive_loss", "train", last, options.base_batch}};
  return made;
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const bool expert = in.kind == ZooItem::Kind::kExpert;
  const Weights weights = make_trainee(in.base, names_of(in.base)).weights;
  std::vector<Pairs> tasks;
  for (const std::string& task : in.tasks) {
    tasks.emplace_back(task, in.pack, expert ? options.expert_batch : options.multitask_batch, options,
                       "fine_tune", in.seed, in.network);
  }
  minimise(
      [&](int64_t step) { return mean_loss(*in.network.architecture, weights, tasks, step); },
      decayed_groups(weights, options.weight_decay),
      warmed_schedule(expert ? options.expert_steps : options.multitask_steps, options.expert_lr, kBeta2),
      in.on_step);
  return {.weights = finished(weights)};
}

// The first tasks of the suite, which are tasks of pairs.
TrainedTasks trained(const Options& options, const std::vector<std::string>& tasks) {
  const std::vector<std::string> seen = first_tasks(tasks, options.seen);
  return {seen, seen};
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 700 pairs/s of the small scale (64 wide, 3 blocks); work grows with width^2 * blocks
  const double size =
      static_cast<double>(options.width * options.width * options.blocks) / (64.0 * 64.0 * 3.0);
  const int64_t pairs = kind == ZooItem::Kind::kBase     ? options.base_steps * options.base_batch
                        : kind == ZooItem::Kind::kExpert ? options.expert_steps * options.expert_batch
                                                         : options.multitask_steps * options.multitask_batch *
                                                               std::min(tasks, options.seen);
  return static_cast<double>(pairs) * size / 700.0;
}

const RegisterRecipe<Options> registered{
    {.name = "two_towers",
     .doc = "CLIPs whose two towers are both merged, on pictures of emoji with their names",
     .scales = {{"small", "64 wide, 3 blocks a tower: minutes on a CPU", "emoji_pairs"},
                {"medium", "128 wide, 4 blocks a tower: on a GPU", "emoji_pairs"}},
     .pooling = Pooling::kFirst,
     .heads = Heads::kOfBase},
    {reads, check_pack, nullptr, make_base, make_model, seconds, trained}};

}  // namespace
}  // namespace fusegrid::recipes::two_towers
