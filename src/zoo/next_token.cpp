#include "zoo/next_token.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"

namespace fusegrid {
namespace {

// The outputs of attention and of the MLP, which are added to the residual stream: of GPT-2, and of Llama.
bool writes_to_residual_stream(const std::string& name) {
  return name.ends_with("c_proj.weight") || name.ends_with("o_proj.weight") ||
         name.ends_with("down_proj.weight");
}

at::Tensor initial_tensor(const TensorInfo& info, int64_t blocks, uint64_t seed) {
  const uint64_t key = derive_key(seed, "pretrain/init/" + info.name);
  switch (role_of(info)) {
    case Role::kBias:
      return at::zeros(info.shape);
    case Role::kScale:
      return at::ones(info.shape);
    case Role::kEmbedding:
      return normal_tensor(info.shape, 0.02, key);
    case Role::kMatrix: {
      const double divisor =
          writes_to_residual_stream(info.name) ? std::sqrt(2.0 * static_cast<double>(blocks)) : 1;
      return normal_tensor(info.shape, 1 / std::sqrt(static_cast<double>(info.shape[1])) / divisor, key);
    }
    default:
      FUSEGRID_ASSERT(false, "no role of a causal model: " + info.name);
  }
}

class Pretraining {
 public:
  Pretraining(const NextToken& options, const nlohmann::json& model, const BaseInput& in)
      : batches_(*in.pool, options.base_texts, in.seed), pad_(in.pool->tokens()->pad), options_(options) {
    network_.architecture = make_architecture(model);
    network_.device = in.device;
    const Architecture& architecture = *network_.architecture;
    for (const TensorInfo& info : architecture.parameters()) {
      model_.emplace(
          info.name,
          initial_tensor(info, architecture.blocks()->size(), in.seed).to(in.device).requires_grad_(true));
    }
    network_.readouts["pool"] =
        own_readout(*architecture.own_head(), architecture.feature_size(), architecture.input().vocabulary);
  }

  std::vector<TrainedGroup> groups() const {
    TrainedGroup matrices{.tensors = {}, .weight_decay = options_.base_weight_decay};
    TrainedGroup others{.tensors = {}};
    for (const auto& [name, tensor] : model_) {
      (tensor.dim() > 1 ? matrices : others).tensors.push_back(tensor);
    }
    return {matrices, others};
  }

  // The mean over all tokens of the step. On a CPU, where tokens take the time, rows of one width go together.
  at::Tensor loss(int64_t step) {
    const Inputs batch = batches_.at(step);
    const int64_t predicted = std::max<int64_t>(1, (batch.lengths - 1).sum().item<int64_t>());
    at::Tensor sum;
    const auto add = [&](const Inputs& rows) {
      const at::Tensor of_rows = token_losses(rows);
      sum = sum.defined() ? sum + of_rows : of_rows;
    };
    if (network_.device.is_cpu()) {
      for_each_batch(batch, batch.size(), [&](const Inputs& rows, const at::Tensor&) { add(rows); });
    } else {
      add(batch);
    }
    at::Tensor loss = sum / static_cast<double>(predicted);
    if (step >= options_.base_steps - kLast) {
      last_.push_back(loss.detach());
    }
    return loss;
  }

  Weights weights() const { return detached(model_); }
  Metric token_loss() const {
    const auto steps = static_cast<int64_t>(last_.size());
    return {"token_loss", "train", at::stack(last_).mean().item<double>(), steps * options_.base_texts};
  }

 private:
  static constexpr int64_t kLast = 50;  // steps

  // The sum over all tokens but the first of each row; what fills rows up is none.
  at::Tensor token_losses(const Inputs& rows) const {
    const Inputs inputs{{}, sent(rows.tokens, network_.device), sent(rows.lengths, network_.device)};
    const at::Tensor logits = network_.output(model_, inputs, "pool");
    const int64_t predicted = inputs.tokens.size(1) - 1;
    const at::Tensor next = inputs.tokens.narrow(1, 1, predicted);
    return at::cross_entropy_loss(logits.narrow(1, 0, predicted).flatten(0, 1), next.flatten(), {},
                                  at::Reduction::Sum, /*ignore_index=*/pad_);
  }

  NextTokenBatches batches_;
  int64_t pad_;
  NextToken options_;
  Network network_;
  Weights model_;
  std::vector<at::Tensor> last_;  // the loss of the last steps: the device is not waited for
};

constexpr const char* kPoolMaker = "tools/make_text_pool.py";

void check_texts(const PretrainingPool& pool) {
  check_pool_kinds(pool, {"text"}, "causal models", kPoolMaker);
}

}  // namespace

InputFormat reads_next_token(const NextToken& options) {
  return {.positions = options.positions, .with_answer = true};
}

void check_next_token_pool(const NextToken& options, const PretrainingPool& pool, const TaskPack& pack) {
  check_texts(pool);
  check_pool_rows(pool, options.positions);
  check_same_tokens(pool, pack, kPoolMaker);
}

double next_token_seconds(const NextToken& options, const Tuning& tuning, ZooItem::Kind kind, int64_t tasks,
                          double rows_per_second) {
  const NextToken defaults;  // work grows with width^2 * blocks
  const auto work = [](const NextToken& model) {
    return static_cast<double>(model.width * model.width * model.blocks);
  };
  const int64_t rows =
      kind == ZooItem::Kind::kBase ? options.base_steps * options.base_texts : rows_seen(tuning, kind, tasks);
  return static_cast<double>(rows) * work(options) / work(defaults) / rows_per_second;
}

NextTokenBatches::NextTokenBatches(const PretrainingPool& pool, int64_t texts, uint64_t seed)
    : count_(texts), pad_(pool.tokens() == nullptr ? 0 : pool.tokens()->pad), seed_(seed) {
  check_texts(pool);
  texts_ = PoolMix::read(pool, "text");
}

Inputs NextTokenBatches::at(int64_t step) const {
  std::vector<std::span<const int32_t>> rows;
  for (const int64_t text : texts_.draw("texts", seed_, count_, step)) {
    rows.push_back(texts_.tokens.row(text));
  }
  return filled_up(rows, pad_);
}

MadeBase pretrain_next_token(const NextToken& options, const nlohmann::json& model,
                             const nlohmann::json& base, const BaseInput& in) {
  Pretraining pretraining(options, model, in);
  minimise([&](int64_t step) { return pretraining.loss(step); }, pretraining.groups(),
           {.steps = options.base_steps,
            .learning_rate = options.base_lr,
            .warmup = std::max<int64_t>(1, options.base_steps * 6 / 100),
            .beta1 = 0.9,
            .beta2 = 0.98,
            .clip = 1.0},
           in.on_step);
  return {.weights = pretraining.weights(),
          .config = base,
          .files = {{"tokenizer.json", in.pool->tokens()->tokenizer}},
          .metrics = {pretraining.token_loss()}};
}

}  // namespace fusegrid
