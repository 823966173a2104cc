// The rows of tokens of training steps: which, which of their tokens are hidden, and how they are filled up.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/inputs.h"
#include "store/pretraining_pool.h"
#include "store/task_pack.h"
#include "zoo/sampling.h"

namespace fusegrid {

// Rows as a model reads them, filled up with `pad` to the longest of them, on the CPU.
Inputs filled_up(const std::vector<std::span<const int32_t>>& rows, int64_t pad);

// Batches of fine-tuning on the train split of a task, see ExampleOrder.
class TokenTaskBatches {
 public:
  TokenTaskBatches(const std::string& task, Split train, const TokenTable& table, int64_t batch,
                   uint64_t seed, at::Device device);
  Examples next();  // on the device

 private:
  Split train_;
  int64_t pad_;
  std::optional<int64_t> separator_;
  ExampleOrder order_;
  at::Device device_;
};

// The rows of all sources of a kind of a pool, and how often each is drawn.
struct PoolMix {
  TokenRows tokens, partners;  // partners: of pairs
  SourceMix mix;

  // kind: text or pairs. A source has its share of the batch.
  static PoolMix read(const PretrainingPool& pool, const std::string& kind);
  // `count` rows: a source is drawn by its share, a row of it uniformly; keyed by (seed, purpose, step).
  std::vector<int64_t> draw(const std::string& purpose, uint64_t seed, int64_t count, int64_t step) const;
};

// ConfigError where pool and pack have not one tokenizer, or texts of the pool begin with another special token than
// rows of the pack. maker: the command that makes such a pool.
void check_same_tokens(const PretrainingPool& pool, const TaskPack& pack, const std::string& maker);

// ConfigError where a pool has longer rows than models of so many positions read.
void check_pool_rows(const PretrainingPool& pool, int64_t positions);

// ConfigError where a pool has no source of one of the kinds. models: that it is for; maker: as above.
void check_pool_kinds(const PretrainingPool& pool, const std::vector<std::string>& kinds,
                      const std::string& models, const std::string& maker);

// ConfigError where a pool lacks texts or pairs, or its tokenizer a mask.
void check_text_pool(const PretrainingPool& pool);

// What an encoder is pretrained on in one step: rows of which some tokens are hidden, and pairs of rows that say the
// same.
struct PretrainingBatch {
  Inputs inputs;      // the texts, then of the pairs all first rows, then all second ones
  at::Tensor hidden;  // int64 [count]: where the hidden tokens stand in the flattened rows of the texts
  at::Tensor truth;   // int64 [count]: what they are
  at::Tensor same;    // bool [pairs, pairs]: pairs other than itself whose second row is equal
};

class TextPoolBatches {
 public:
  struct Options {
    int64_t texts = 192, pairs = 384;  // of a batch
    double hidden = 0.2;               // share of the tokens that are not special
    uint64_t seed = 0;
    at::Device device = at::kCPU;
  };
  // Throws as check_text_pool().
  TextPoolBatches(const PretrainingPool& pool, const Options& options);
  // Of the hidden tokens 80 % are masked, 10 % become any token that is not special, and 10 % stay (Devlin et al.,
  // arXiv:1810.04805, section 3.1).
  PretrainingBatch at(int64_t step) const;

 private:
  void hide(PretrainingBatch& batch, int64_t step) const;
  at::Tensor same_partners(const std::vector<int64_t>& pairs) const;

  Options options_;
  PoolMix texts_, pairs_;
  std::vector<int64_t> partner_numbers_;  // of a pair: equal for equal partners
  int64_t pad_ = 0, mask_ = 0;
  std::vector<bool> special_;      // by id
  std::vector<int64_t> ordinary_;  // ids that are not special
};

}  // namespace fusegrid
