// Pretraining of causal models: each token of a text is predicted from those in front of it.
#pragma once

#include <cstdint>

#include <nlohmann/json.hpp>

#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"
#include "zoo/token_batches.h"

namespace fusegrid {

// Options of a base that is pretrained so, whatever its family.
struct NextToken {
  // architecture
  int64_t width = 128;
  int64_t blocks = 4;
  int64_t head_width = 32;
  int64_t positions = 64;

  // pretraining
  double base_lr = 8e-4;
  int64_t base_steps = 3000;
  int64_t base_texts = 192;
  double base_weight_decay = 0.05;

  template <typename Visitor>
  void describe_blocks(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
  }
  template <typename Visitor>
  void describe_pretraining(Visitor& v) {
    v.param("positions", positions, Range{1, 65536}, "tokens of the longest row that a model reads");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_texts", base_texts, Range{1, 65536}, "texts of a pretraining step");
    v.param("base_weight_decay", base_weight_decay, Range{0, 1}, "AdamW's, on matrices and embeddings");
  }
};

// What a recipe of such models does, see RecipeFunctions.
InputFormat reads_next_token(const NextToken& options);
void check_next_token_pool(const NextToken& options, const PretrainingPool& pool, const TaskPack& pack);
// rows_per_second: of pretraining at the defaults.
double next_token_seconds(const NextToken& options, const Tuning& tuning, ZooItem::Kind kind, int64_t tasks,
                          double rows_per_second);

// The texts of training steps.
class NextTokenBatches {
 public:
  // ConfigError where the pool has no texts.
  NextTokenBatches(const PretrainingPool& pool, int64_t texts, uint64_t seed);
  Inputs at(int64_t step) const;  // filled up, on the CPU

 private:
  PoolMix texts_;
  int64_t count_, pad_;
  uint64_t seed_;
};

// Weights of a language model: matrices have standard deviation fan_in^-1/2, those that write to the residual stream
// are divided by sqrt(2 * blocks), embeddings have .02. model: a config.json of a causal model with a token head; base:
// that of the base. Metric token_loss: nats, the mean over the tokens of the last steps.
MadeBase pretrain_next_token(const NextToken& options, const nlohmann::json& model,
                             const nlohmann::json& base, const BaseInput& in);

}  // namespace fusegrid
