// Encoder-decoders of the layout of T5 on text-to-text tasks (docs/design/text_zoo.md).
//
// Base:    hidden spans of texts are guessed and questions answered, some of them those of the tasks; steps are in
//          units of each tensor's root mean square, without which a small base learns a third as much in the same time.
// Experts: the matrices of the affine layers; with lora=r adapters of rank r on the queries and values of attention.
//          The multi-task model likewise, on all tasks: with adapters it shows what one of them can hold, and the zoo
//          without them, whose bases are the same, has the one that is trained in full. Models make their tokens
//          themselves, so that there are no heads.
// Source:  Raffel et al., arXiv:1910.10683 (layout, spans); Shazeer & Stern, arXiv:1804.04235, section 8 (steps).

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"
#include "zoo/span_batches.h"
#include "zoo/token_batches.h"

namespace fusegrid::recipes::seq2seq {
namespace {

struct Options : Tuning {
  // architecture
  int64_t width = 128;
  int64_t blocks = 4;
  int64_t head_width = 32;
  int64_t mlp_ratio = 2;
  int64_t buckets = 32;
  int64_t max_distance = 64;
  int64_t positions = 64;

  // pretraining
  double base_lr = 2e-2;
  int64_t base_steps = 3000;
  int64_t base_texts = 56;
  int64_t base_pairs = 156;
  double hidden_share = 0.25;
  double mean_span = 2.5;

  int64_t lora = 0;  // of experts and multi-task models

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks of the encoder, and of the decoder");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the gated MLP in units of width");
    v.param("buckets", buckets, Range{4, 1024}, "relative positions that attention tells apart");
    v.param("max_distance", max_distance, Range{4, 65536}, "distances from which on it tells none apart");
    v.param("positions", positions, Range{1, 65536}, "tokens of the longest row that a model reads");
    v.param("base_lr", base_lr, Range{0, 1},
            "highest learning rate of pretraining, in units of a tensor's RMS");
    v.param("base_steps", base_steps, Range{1, 1e9}, "steps of pretraining");
    v.param("base_texts", base_texts, Range{1, 65536}, "texts with hidden spans of a step of pretraining");
    v.param("base_pairs", base_pairs, Range{1, 65536}, "questions of a step of pretraining");
    v.param("hidden_share", hidden_share, Range{0.01, 0.9}, "share of a text's tokens that is hidden");
    v.param("mean_span", mean_span, Range{1, 100}, "tokens of a hidden span, on average");
  }

  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param(
        "lora", lora, Range{0, 4096},
        "rank of adapters on the queries and values of attention; 0: the matrices of all layers are trained");
    if constexpr (std::is_same_v<Visitor, ParamReader>) {
      use_defaults_of_adapters();  // which what is read from here on replaces
    }
    Tuning::describe_models(v);
  }

  void use_defaults_of_adapters() {
    if (lora > 0) {
      expert_lr = 3e-4;
      expert_steps = 700;
    }
  }

  void check() const {
    if (width % head_width != 0) {
      throw ConfigError("width must be a multiple of head_width, but it is " + std::to_string(width) +
                        " and head_width " + std::to_string(head_width));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  options.expert_steps = 350;
  if (scale == "medium") {
    options.width = 256;
    options.blocks = 6;
    options.expert_lr = 5e-4;
    options.expert_steps = 700;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options, const TokenTable& table) {
  return {{"architectures", {"T5ForConditionalGeneration"}},
          {"model_type", "t5"},
          {"d_model", options.width},
          {"d_kv", options.head_width},
          {"d_ff", options.mlp_ratio * options.width},
          {"num_layers", options.blocks},
          {"num_decoder_layers", options.blocks},
          {"num_heads", options.width / options.head_width},
          {"relative_attention_num_buckets", options.buckets},
          {"relative_attention_max_distance", options.max_distance},
          {"feed_forward_proj", "gated-gelu"},
          {"is_encoder_decoder", true},
          {"tie_word_embeddings", true},
          {"layer_norm_epsilon", 1e-6},
          {"dropout_rate", 0.0},
          {"n_positions", options.positions},
          {"vocab_size", table.size()},
          {"pad_token_id", table.pad},
          {"eos_token_id", span_tokens(table).end},
          {"decoder_start_token_id", table.pad},
          {"torch_dtype", "float32"}};
}

InputFormat reads(const Options& options) {
  return {.positions = options.positions};
}

void check_pack(const Options&, const TaskPack& pack, const std::vector<std::string>& tasks) {
  for (const std::string& task : tasks) {
    if (pack.task(task).kind != "generate") {
      throw ConfigError("the recipe seq2seq trains on text-to-text tasks, but task '" + task + "' of '" +
                        pack.path().string() + "' is of the kind " + pack.task(task).kind +
                        "; choose another pack or another recipe");
    }
  }
}

void check_pool(const Options& options, const PretrainingPool& pool, const TaskPack& pack) {
  check_span_pool(pool);
  check_pool_rows(pool, options.positions);
  check_same_tokens(pool, pack, "tools/make_seq2seq_pool.py");
}

// ---- the base

// One tensor's first value. Attention has no scale: it is that of the queries.
at::Tensor initial_tensor(const TensorInfo& info, const Options& options, uint64_t seed) {
  const uint64_t key = derive_key(seed, "pretrain/init/" + info.name);
  const auto of_width = static_cast<double>(options.width);
  if (role_of(info) == Role::kScale) {
    return at::ones(info.shape);
  }
  if (info.name.ends_with("relative_attention_bias.weight")) {
    return normal_tensor(info.shape, 1 / std::sqrt(of_width), key);
  }
  if (role_of(info) == Role::kEmbedding) {
    return normal_tensor(info.shape, 1, key);
  }
  const double divisor =
      info.name.ends_with(".q.weight") ? std::sqrt(static_cast<double>(options.head_width)) : 1;
  return normal_tensor(info.shape, 1 / std::sqrt(static_cast<double>(info.shape[1])) / divisor, key);
}

class Pretraining {
 public:
  Pretraining(const Options& options, const nlohmann::json& config, const BaseInput& in)
      : batches_(*in.pool, {.texts = options.base_texts,
                            .pairs = options.base_pairs,
                            .hidden = options.hidden_share,
                            .mean_span = options.mean_span,
                            .seed = in.seed,
                            .device = in.device}),
        pad_(in.pool->tokens()->pad),
        options_(options) {
    network_.architecture = make_architecture(config);
    network_.device = in.device;
    for (const TensorInfo& info : network_.architecture->parameters()) {
      model_.emplace(info.name, initial_tensor(info, options, in.seed).to(in.device).requires_grad_(true));
    }
    const InputFormat format = network_.architecture->input();
    network_.readouts["pool"] = own_readout(*network_.architecture->own_head(),
                                            network_.architecture->feature_size(), format.vocabulary);
  }

  TrainedGroup group() const {
    TrainedGroup all{.tensors = {}, .relative = true};
    for (const auto& [name, tensor] : model_) {
      all.tensors.push_back(tensor);
    }
    return all;
  }

  // The mean over all tokens of the step.
  at::Tensor loss(int64_t step) {
    const Examples batch = batches_.at(step);
    const TaskKind& kind = task_kind("generate");
    const at::Tensor logits = network_.output(model_, kind.taught(batch), "pool");
    const at::Tensor loss = at::cross_entropy_loss(logits.flatten(0, 1), batch.wanted.flatten(), {},
                                                   at::Reduction::Mean, /*ignore_index=*/pad_);
    if (step >= options_.base_steps - kLast) {
      last_.push_back(loss.detach());
    }
    return loss;
  }

  Weights weights() const { return detached(model_); }

  std::vector<Metric> metrics() const {
    const auto steps = static_cast<int64_t>(last_.size());
    return {{"token_loss", "train", at::stack(last_).mean().item<double>(),
             steps * (options_.base_texts + options_.base_pairs)}};
  }

 private:
  static constexpr int64_t kLast = 50;  // steps

  SpanPoolBatches batches_;
  int64_t pad_;
  Options options_;
  Network network_;
  Weights model_;
  std::vector<at::Tensor> last_;  // the loss of the last steps: the device is not waited for
};

MadeBase make_base(const Options& options, const BaseInput& in) {
  const TokenTable& table = *in.pool->tokens();
  const nlohmann::json config = architecture_config(options, table);
  Pretraining pretraining(options, config, in);
  minimise([&](int64_t step) { return pretraining.loss(step); }, {pretraining.group()},
           {.steps = options.base_steps,
            .learning_rate = options.base_lr,
            .warmup = std::max<int64_t>(1, options.base_steps * 5 / 100),
            .beta1 = 0.9,
            .beta2 = 0.98,
            .clip = 1.0},
           in.on_step);
  return {.weights = pretraining.weights(),
          .config = config,
          .files = {{"tokenizer.json", table.tokenizer}},
          .heads = {},
          .metrics = pretraining.metrics()};
}

// ---- experts and multi-task models

MadeModel make_model(const Options& options, const ModelInput& in) {
  if (options.lora == 0) {
    return fine_tune(options, layer_matrices(*in.network.architecture), in);
  }
  return fine_tune(options,
                   {.targets = {"q", "v"},
                    .rank = options.lora,
                    .scale = kAdapterScale,
                    .key = adapter_key(in),
                    .task_type = "SEQ_2_SEQ_LM"},
                   in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 200 rows/s of the small scale (128 wide, 4 + 4 blocks); work grows with width^2 * blocks
  const double size =
      static_cast<double>(options.width * options.width * options.blocks) / (128.0 * 128.0 * 4.0);
  const int64_t rows = kind == ZooItem::Kind::kBase
                           ? options.base_steps * (options.base_texts + options.base_pairs)
                           : rows_seen(options, kind, tasks);
  return static_cast<double>(rows) * size / 200.0;
}

const RegisterRecipe<Options> registered{
    {.name = "seq2seq",
     .doc = "encoder-decoders of the layout of T5 on text-to-text tasks",
     .scales = {{"small", "128 wide, 4 + 4 blocks: minutes on a CPU", "seq2seq8"},
                {"medium", "256 wide, 6 + 6 blocks: on a GPU", "seq2seq8"}},
     .pooling = Pooling::kNone,
     .heads = Heads::kTokens,
     .pool = "seq2seq_pool.h5",
     .pool_maker = "tools/make_seq2seq_pool.py"},
    {reads, check_pack, check_pool, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::seq2seq
