// Encoders of the layout of BERT on tasks of text, whose experts bring heads of their own (docs/design/text_zoo.md).
//
// Base:    hidden tokens are guessed, and pairs of rows that say the same find each other among those of the batch; the
//          two losses are added.
// Experts: with head=joint all parameters and an affine head, which learns faster; with head=probe the matrices of the
//          affine layers under a frozen head, fitted on the base's features. The multi-task model likewise, on all
//          tasks.
// Source:  Devlin et al., arXiv:1810.04805 (hidden tokens); Radford et al., arXiv:2103.00020, section 2.3 (pairs).

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"
#include "models/operators.h"
#include "models/unit_rows.h"
#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"
#include "zoo/token_batches.h"

namespace fusegrid::recipes::text {
namespace {

const double kLargestLogScale = std::log(100.0);

struct Options : FineTuning {
  // architecture
  int64_t width = 128;
  int64_t blocks = 4;
  int64_t head_width = 32;
  int64_t mlp_ratio = 4;
  int64_t positions = 64;

  // pretraining
  double base_lr = 1.5e-3;
  int64_t base_steps = 3000;
  int64_t base_texts = 192;
  int64_t base_pairs = 384;
  double base_weight_decay = 0.05;
  double hidden_share = 0.2;
  double initial_scale = 15;

  static Options of_scale(const std::string& scale);

  template <typename Visitor>
  void describe_base(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP in units of width");
    v.param("positions", positions, Range{1, 65536}, "tokens of the longest row that a model reads");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_texts", base_texts, Range{1, 65536}, "texts with hidden tokens in a pretraining step");
    v.param("base_pairs", base_pairs, Range{2, 65536}, "pairs in a pretraining step");
    v.param("base_weight_decay", base_weight_decay, Range{0, 1}, "AdamW's, on matrices and embeddings");
    v.param("hidden_share", hidden_share, Range{0.01, 1}, "share of the tokens that are hidden");
    v.param("initial_scale", initial_scale, Range{1, 100},
            "of the similarity of pairs; learned, at most 100");
  }
  void check() const {
    if (width % head_width != 0) {
      throw ConfigError("recipe text: head_width must divide width, but they are " +
                        std::to_string(head_width) + " and " + std::to_string(width));
    }
  }
};

Options Options::of_scale(const std::string& scale) {
  Options options;
  if (scale == "medium") {
    options.width = 256;
    options.blocks = 6;
    options.base_lr = 8e-4;
    options.expert_lr = 5e-4;
  } else if (scale == "minilm") {
    options.width = 384;  // of the published base, for the estimate of its time
    options.blocks = 6;
    options.expert_lr = 1e-4;
  }
  return options;
}

nlohmann::json architecture_config(const Options& options, const TokenTable& table) {
  return {{"architectures", {"BertModel"}},
          {"model_type", "bert"},
          {"hidden_size", options.width},
          {"intermediate_size", options.mlp_ratio * options.width},
          {"num_hidden_layers", options.blocks},
          {"num_attention_heads", options.width / options.head_width},
          {"max_position_embeddings", options.positions},
          {"type_vocab_size", 0},
          {"vocab_size", table.size()},
          {"pad_token_id", table.pad},
          {"hidden_act", "gelu"},
          {"hidden_dropout_prob", 0.0},
          {"attention_probs_dropout_prob", 0.0},
          {"layer_norm_eps", 1e-12},
          {"torch_dtype", "float32"}};
}

InputFormat reads(const Options& options) {
  return {.positions = options.positions};
}

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& tasks) {
  check_fine_tuning("text", options, pack, tasks);
}

void check_pool(const Options& options, const PretrainingPool& pool, const TaskPack& pack) {
  check_text_pool(pool);
  check_pool_rows(pool, options.positions);
  check_same_tokens(pool, pack, "tools/make_text_pool.py");
}

// ---- the base

// One tensor's first value, by the role that its name tells: matrices have standard deviation fan_in^-1/2, the two that
// write to the residual stream are divided by sqrt(2 * blocks).
at::Tensor initial_tensor(const std::string& name, const std::vector<int64_t>& shape, int64_t blocks,
                          uint64_t seed) {
  if (name.ends_with(".bias")) {
    return at::zeros(shape);
  }
  if (shape.size() == 1) {
    return at::ones(shape);  // scale of a layer norm
  }
  const uint64_t key = derive_key(seed, "pretrain/init/" + name);
  if (name.ends_with("embeddings.weight")) {
    return normal_tensor(shape, name.ends_with("word_embeddings.weight") ? 0.05 : 0.02, key);
  }
  const double divisor =
      name.ends_with("output.dense.weight") ? std::sqrt(2.0 * static_cast<double>(blocks)) : 1;
  return normal_tensor(shape, 1 / std::sqrt(static_cast<double>(shape[1])) / divisor, key);
}

// What pretraining alone needs: from hidden states to the features that the token embedding is compared with, and the
// logarithm of the scale of the pairs' similarities.
class Pretraining {
 public:
  Pretraining(const Options& options, const nlohmann::json& config, const BaseInput& in)
      : architecture_(make_architecture(config)),
        batches_(*in.pool, {.texts = options.base_texts,
                            .pairs = options.base_pairs,
                            .hidden = options.hidden_share,
                            .seed = in.seed,
                            .device = in.device}),
        norm_("transform.norm", options.width, 1e-12),
        options_(options) {
    const auto leaf = [&](const std::string& name, const std::vector<int64_t>& shape) {
      return initial_tensor(name, shape, options.blocks, in.seed).to(in.device).requires_grad_(true);
    };
    for (const TensorInfo& info : architecture_->parameters()) {
      model_.emplace(info.name, leaf(info.name, info.shape));
    }
    const int64_t width = options.width;
    for (const auto& [name, shape] :
         std::map<std::string, std::vector<int64_t>>{{"transform.weight", {width, width}},
                                                     {"transform.bias", {width}},
                                                     {"transform.norm.weight", {width}},
                                                     {"transform.norm.bias", {width}},
                                                     {"decoder.bias", {architecture_->input().vocabulary}}}) {
      extra_.emplace(name, leaf(name, shape));
    }
    extra_.emplace(
        "scale",
        at::full({}, std::log(options.initial_scale), at::kFloat).to(in.device).requires_grad_(true));
  }

  std::vector<TrainedGroup> groups() const {
    TrainedGroup matrices{.tensors = {}, .weight_decay = options_.base_weight_decay};
    TrainedGroup others{.tensors = {}};
    for (const Weights* weights : {&model_, &extra_}) {
      for (const auto& [name, tensor] : *weights) {
        (tensor.dim() > 1 ? matrices : others).tensors.push_back(tensor);
      }
    }
    return {matrices, others};
  }

  // Texts and pairs go through the model together.
  at::Tensor loss(int64_t step) {
    const PretrainingBatch batch = batches_.at(step);
    const at::Tensor hidden_states = architecture_->features(model_, batch.inputs, Pooling::kNone);
    const int64_t pairs = options_.base_pairs;
    const at::Tensor texts = hidden_states.narrow(0, 0, options_.base_texts).flatten(0, 1);
    const at::Tensor of_pairs =
        pooled(hidden_states.narrow(0, options_.base_texts, 2 * pairs),
               batch.inputs.lengths.narrow(0, options_.base_texts, 2 * pairs), Pooling::kMean);
    const at::Tensor of_tokens = token_loss(texts.index_select(0, batch.hidden), batch.truth);
    const at::Tensor between = pair_loss(unit_rows(of_pairs), batch.same);
    if (step >= options_.base_steps - kLast) {
      last_.push_back(at::stack({of_tokens.detach(), between.detach(), extra_.at("scale").detach().exp()}));
    }
    return of_tokens + between;
  }

  Weights weights() const { return detached(model_); }

  // Means over the last steps.
  std::vector<Metric> metrics() const {
    const at::Tensor means = at::stack(last_).mean(0).cpu();
    const auto* mean = means.const_data_ptr<float>();
    const auto steps = static_cast<int64_t>(last_.size());
    return {{"hidden_token_loss", "train", mean[0], steps * options_.base_texts},
            {"pair_loss", "train", mean[1], steps * options_.base_pairs},
            {"pair_scale", "train", mean[2], steps * options_.base_pairs}};
  }

 private:
  static constexpr int64_t kLast = 50;  // steps

  // states: [hidden tokens, width]; a batch may have none.
  at::Tensor token_loss(const at::Tensor& states, const at::Tensor& truth) const {
    const at::Tensor transformed = norm_(
        extra_, activate(Activation::kGelu,
                         at::linear(states, extra_.at("transform.weight"), extra_.at("transform.bias"))));
    const at::Tensor logits =
        at::linear(transformed, model_.at("embeddings.word_embeddings.weight"), extra_.at("decoder.bias"));
    return at::cross_entropy_loss(logits, truth, {}, at::Reduction::Sum) /
           static_cast<double>(std::max<int64_t>(truth.size(0), 1));
  }

  // features: of unit length, all first rows of the pairs and then all second ones.
  at::Tensor pair_loss(const at::Tensor& features, const at::Tensor& same) const {
    const int64_t pairs = same.size(0);
    const at::Tensor scale = extra_.at("scale").clamp_max(kLargestLogScale).exp();
    const at::Tensor logits =
        (scale * at::matmul(features.narrow(0, 0, pairs), features.narrow(0, pairs, pairs).t()))
            .masked_fill(same, -std::numeric_limits<double>::infinity());
    const at::Tensor own = at::arange(pairs, same.options().dtype(at::kLong));
    return (at::cross_entropy_loss(logits, own) + at::cross_entropy_loss(logits.t(), own)) / 2;
  }

  std::unique_ptr<const Architecture> architecture_;
  TextPoolBatches batches_;
  LayerNorm norm_;
  Options options_;
  Weights model_, extra_;
  std::vector<at::Tensor> last_;  // both losses and the scale of the last steps: the device is not waited for
};

MadeBase make_base(const Options& options, const BaseInput& in) {
  const TokenTable& table = *in.pool->tokens();
  const nlohmann::json config = architecture_config(options, table);
  Pretraining pretraining(options, config, in);
  minimise([&](int64_t step) { return pretraining.loss(step); }, pretraining.groups(),
           {.steps = options.base_steps,
            .learning_rate = options.base_lr,
            .warmup = std::max<int64_t>(1, options.base_steps * 6 / 100),
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
  return fine_tune(options, Pooling::kMean, in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  // measured: 800 rows/s of the small scale (128 wide, 4 blocks); work grows with width^2 * blocks
  const double size =
      static_cast<double>(options.width * options.width * options.blocks) / (128.0 * 128.0 * 4.0);
  const int64_t rows = kind == ZooItem::Kind::kBase
                           ? options.base_steps * (options.base_texts + 2 * options.base_pairs)
                           : rows_seen(options, kind, tasks);
  return static_cast<double>(rows) * size / 800.0;
}

const RegisterRecipe<Options> registered{
    {.name = "text",
     .doc = "encoders of the layout of BERT, each expert with a head of its own, on tasks of text",
     .scales = {{"small", "128 wide, 4 blocks: minutes on a CPU", "text8"},
                {"medium", "256 wide, 6 blocks: on a GPU", "text10"},
                {"minilm", "experts of a published base, all-MiniLM-L6-v2 (tools/fetch_minilm.py): on a GPU",
                 "text10",
                 /*published_base=*/true}},
     .pooling = Pooling::kMean,
     .heads = Heads::kOfExperts,
     .pool = "text_pool.h5",
     .pool_maker = "tools/make_text_pool.py"},
    {reads, check_pack, check_pool, make_base, make_model, seconds}};

}  // namespace
}  // namespace fusegrid::recipes::text
