// The axis groups of transformers whose blocks are attention and an MLP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/architecture.h"
#include "models/operators.h"

namespace fusegrid {

// What one block is made of.
struct EncoderBlock {
  Layer query, key, value, out, fc1, fc2;
  std::vector<LayerNorm> norms;  // of the residual stream
  bool qkv_bias = true;          // whether query, key and value have biases
};

struct EncoderSizes {
  int64_t width = 0, mlp_width = 0, heads = 0;
};

constexpr const char* kResidualStream = "residual";

// Those of each block, its heads (a unit each, named by the input of their layers) and the hidden units of its MLP
// (named by fc1), and at the end kResidualStream, along which the features lie.
//   makers, norms   what lies along the stream before and behind the blocks: embeddings with the axis that does
std::vector<AxisGroup> encoder_groups(const std::vector<EncoderBlock>& blocks, const EncoderSizes& sizes,
                                      const std::vector<AxisGroup::Axis>& makers,
                                      const std::vector<LayerNorm>& norms);

}  // namespace fusegrid
