// What encoder-decoders are pretrained on: texts with hidden spans, and questions with answers.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/inputs.h"
#include "store/pretraining_pool.h"
#include "zoo/token_batches.h"

namespace fusegrid {

// Ids that stand for something in the rows of an encoder-decoder.
struct SpanTokens {
  int64_t pad = 0;
  int32_t end = 0;                 // of every row
  std::vector<int32_t> sentinels;  // each stands for a hidden span, in their order
};
// "</s>" and "<extra_id_0>", "<extra_id_1>", ... of a table; ConfigError where it has none.
SpanTokens span_tokens(const TokenTable& table);

// ConfigError where a pool has no texts, no pairs or no such tokens.
void check_span_pool(const PretrainingPool& pool);

// Hides spans of a row that ends with tokens.end: each becomes a sentinel, and the answer is the spans, each behind its
// sentinel, and the end (Raffel et al., arXiv:1910.10683, section 3.1.4). The spans have `share` of the tokens and a
// mean of `mean_span`; no two of them touch and none is at the front. numbers: in [0, 1), one for each token.
std::pair<std::vector<int32_t>, std::vector<int32_t>> hide_spans(std::span<const int32_t> row,
                                                                 const SpanTokens& tokens, double share,
                                                                 double mean_span,
                                                                 std::span<const float> numbers);

class SpanPoolBatches {
 public:
  struct Options {
    int64_t texts = 56, pairs = 156;  // of a batch
    double hidden = 0.25;             // share of a text's tokens
    double mean_span = 2.5;
    uint64_t seed = 0;
    at::Device device = at::kCPU;
  };
  // Throws as check_span_pool().
  SpanPoolBatches(const PretrainingPool& pool, const Options& options);
  Examples at(int64_t step) const;  // the texts, then the pairs

 private:
  Options options_;
  SpanTokens tokens_;
  PoolMix texts_, pairs_;
};

}  // namespace fusegrid
