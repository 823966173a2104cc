#include "models/encoder_groups.h"

namespace fusegrid {
namespace {

void make(AxisGroup& group, const Layer& layer, bool bias = true) {
  group.axes.push_back({layer.weight, 0, true});
  if (bias) {
    group.axes.push_back({layer.bias, 0, true});
  }
}

void read(AxisGroup& group, const Layer& layer) {
  group.axes.push_back({layer.weight, 1, false});
}

void make(AxisGroup& group, const std::vector<LayerNorm>& norms) {
  for (const LayerNorm& norm : norms) {
    group.axes.push_back({norm.weight, 0, true});
    group.axes.push_back({norm.bias, 0, true});
  }
}

AxisGroup heads_of(const EncoderBlock& block, const EncoderSizes& sizes) {
  AxisGroup group{.name = block.query.input, .size = sizes.heads, .unit = sizes.width / sizes.heads};
  for (const Layer* layer : {&block.query, &block.key, &block.value}) {
    make(group, *layer, block.qkv_bias);
  }
  read(group, block.out);
  return group;
}

AxisGroup hidden_of(const EncoderBlock& block, const EncoderSizes& sizes) {
  AxisGroup group{.name = block.fc1.name, .size = sizes.mlp_width};
  make(group, block.fc1);
  read(group, block.fc2);
  return group;
}

}  // namespace

std::vector<AxisGroup> encoder_groups(const std::vector<EncoderBlock>& blocks, const EncoderSizes& sizes,
                                      const std::vector<AxisGroup::Axis>& makers,
                                      const std::vector<LayerNorm>& norms) {
  std::vector<AxisGroup> groups;
  AxisGroup stream{.name = kResidualStream, .size = sizes.width, .axes = makers, .features = true};
  for (const EncoderBlock& block : blocks) {
    groups.push_back(heads_of(block, sizes));
    groups.push_back(hidden_of(block, sizes));
    make(stream, block.norms);
    for (const Layer* layer : {&block.query, &block.key, &block.value, &block.fc1}) {
      read(stream, *layer);
    }
    make(stream, block.out);
    make(stream, block.fc2);
  }
  make(stream, norms);
  groups.push_back(std::move(stream));
  return groups;
}

}  // namespace fusegrid
