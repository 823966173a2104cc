// Pretraining of causal models: each token of a text is predicted from those in front of it.
#pragma once

#include <cstdint>

#include <nlohmann/json.hpp>

#include "zoo/recipe.h"
#include "zoo/token_batches.h"

namespace fusegrid {

// Options of a base that is pretrained so.
struct NextToken {
  double base_lr = 8e-4;
  int64_t base_steps = 3000;
  int64_t base_texts = 192;
  double base_weight_decay = 0.05;

  template <typename Visitor>
  void describe_pretraining(Visitor& v) {
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_texts", base_texts, Range{1, 65536}, "texts of a pretraining step");
    v.param("base_weight_decay", base_weight_decay, Range{0, 1}, "AdamW's, on matrices and embeddings");
  }
};

// ConfigError where a pool has no texts.
void check_next_token_pool(const PretrainingPool& pool);

// The texts of training steps.
class NextTokenBatches {
 public:
  // Throws as check_next_token_pool().
  NextTokenBatches(const PretrainingPool& pool, int64_t texts, uint64_t seed);
  Inputs at(int64_t step) const;  // filled up, on the CPU

 private:
  PoolMix texts_;
  int64_t count_, pad_;
  uint64_t seed_;
};

// Weights of a language model: matrices have standard deviation fan_in^-1/2, those that write to the residual stream
// are divided by sqrt(2 * blocks), embeddings have .02. model: a config.json of a causal model with a token head; that
// of the base is the caller's.
struct Pretrained {
  Weights weights;
  std::vector<Metric> metrics;  // token_loss: nats, the mean over the tokens of the last steps
};
Pretrained pretrain_next_token(const NextToken& options, const nlohmann::json& model, const BaseInput& in);

}  // namespace fusegrid
