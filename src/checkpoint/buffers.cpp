#include "checkpoint/buffers.h"

#include <set>
#include <string>

#include "core/text.h"

namespace fusegrid {
namespace {

// Floating buffers by the last part of their names.
const std::set<std::string>& computed_names() {
  static const std::set<std::string> names{"inv_freq",
                                           "original_inv_freq",
                                           "cos_cached",
                                           "sin_cached",
                                           "freqs_cis",
                                           "masked_bias",
                                           "causal_mask",
                                           "attn_mask",
                                           "attention_mask",
                                           "future_mask",
                                           "position_ids",
                                           "position_id",
                                           "token_type_ids",
                                           "relative_position_index",
                                           "relative_coords_table"};
  return names;
}

}  // namespace

bool is_computed(const TensorInfo& info) {
  const std::string last = split(info.name, '.').back();
  // GPT-2 and its like keep a causal mask [1, 1, n, n] as "bias" of the attention
  const bool mask = last == "bias" && info.shape.size() == 4 && info.shape[0] == 1 && info.shape[1] == 1 &&
                    info.shape[2] == info.shape[3];
  return mask || computed_names().contains(last);
}

bool is_buffer(const TensorInfo& info) {
  return !info.floating() || is_computed(info);
}

}  // namespace fusegrid
