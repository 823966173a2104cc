// The diffusion transformer with the parameter names of diffusers' DiTTransformer2DModel, as the velocity of a flow: it
// reads where a picture is on its way from noise, and what is asked for, and its features are the velocity of each
// patch.
//
// Source:  Peebles and Xie, "Scalable Diffusion Models with Transformers", ICCV 2023, arXiv:2212.09748 (adaLN-Zero);
//          Liu et al., "Flow Straight and Fast", ICLR 2023, arXiv:2209.03003 (velocities).
// Config:  model_type dit, which is this program's own word beside diffusers' fields, whose defaults hold where they
//          are not given. num_embeds_ada_norm: rows of the table of what may be asked for; the table has one more,
//          which diffusers trains with nothing asked for and which is not read here. Dropout is ignored.
// Differs: several things may be asked for at once, a class and a style: their rows are added. diffusers has one. A
//          time from 0 to 1 is a time step from 0 to 1000.

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "core/errors.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid::families::dit {
namespace {

constexpr int64_t kTimeChannels = 256;
constexpr double kLongestPeriod = 10000;
constexpr double kTimeSteps = 1000;
constexpr double kFixedEpsilon = 1e-6;  // of norms that no field of the config names
constexpr int64_t kMlpRatio = 4;

struct Shape {
  int64_t heads = 0, head_width = 0, channels = 0, out_channels = 0, blocks = 0, size = 0, patch = 0,
          conditions = 0;
  bool attention_bias = true;
  double epsilon = 0;

  int64_t width() const { return heads * head_width; }
  int64_t side() const { return size / patch; }  // in patches
};

// An affine map of a vector of the time, whose tensors are embeddings: no layer that methods see the inputs of.
struct TimeMap {
  explicit TimeMap(const std::string& name) : weight(name + ".weight"), bias(name + ".bias") {}
  at::Tensor operator()(const Weights& weights, const at::Tensor& x) const {
    return at::linear(x, weights.at(weight), weights.at(bias));
  }
  std::string weight, bias;
};

// The names of one block, built once: a forward pass asks for them for every layer.
struct Block {
  explicit Block(const std::string& prefix)
      : time1(prefix + "norm1.emb.timestep_embedder.linear_1"),
        time2(prefix + "norm1.emb.timestep_embedder.linear_2"),
        table(prefix + "norm1.emb.class_embedder.embedding_table.weight"),
        modulation(prefix + "norm1.linear"),
        query(prefix + "attn1.to_q", prefix + "attn1"),
        key(prefix + "attn1.to_k", prefix + "attn1"),
        value(prefix + "attn1.to_v", prefix + "attn1"),
        out(prefix + "attn1.to_out.0"),
        fc1(prefix + "ff.net.0.proj"),
        fc2(prefix + "ff.net.2") {}
  TimeMap time1, time2;
  std::string table;
  Layer modulation, query, key, value, out, fc1, fc2;
};

// [side * side, width]: sines and cosines of the column in the first half, of the row in the second. As diffusers keeps
// them, in float32.
at::Tensor positions_of(int64_t side, int64_t width) {
  const int64_t quarter = width / 4;
  const at::Tensor place = at::arange(side * side, at::kDouble);
  const at::Tensor row = (place / static_cast<double>(side)).floor();
  const at::Tensor column = place - row * static_cast<double>(side);
  const at::Tensor period =
      at::pow(kLongestPeriod, at::arange(quarter, at::kDouble) / static_cast<double>(quarter));
  std::vector<at::Tensor> parts;
  for (const at::Tensor& along : {column, row}) {
    const at::Tensor angle = along.unsqueeze(1) / period;
    parts.push_back(at::sin(angle));
    parts.push_back(at::cos(angle));
  }
  return concatenate(parts, 1).to(at::kFloat);
}

// [n, kTimeChannels], in float32 as diffusers computes them.
at::Tensor time_waves(const at::Tensor& time) {
  constexpr int64_t kHalf = kTimeChannels / 2;
  const at::Tensor places = at::arange(kHalf, time.options().dtype(at::kFloat));
  const at::Tensor frequencies = at::exp(places * -std::log(kLongestPeriod) / static_cast<double>(kHalf - 1));
  const at::Tensor angles = (time.to(at::kFloat) * kTimeSteps).unsqueeze(1) * frequencies;
  return concatenate({at::cos(angles), at::sin(angles)}, 1);
}

class Dit final : public Architecture {
 public:
  explicit Dit(const Shape& shape) : shape_(shape), positions_(positions_of(shape.side(), shape.width())) {
    for (int64_t i = 0; i < shape.blocks; ++i) {
      blocks_.emplace_back("transformer_blocks." + std::to_string(i) + ".");
    }
  }

  std::string name() const override { return "dit"; }
  InputFormat input() const override {
    return {.state_size = shape_.size, .state_channels = shape_.channels, .conditions = shape_.conditions};
  }
  int64_t feature_size() const override { return shape_.patch * shape_.patch * shape_.out_channels; }
  int64_t num_tokens() const override { return shape_.side() * shape_.side(); }
  std::vector<TensorInfo> parameters() const override;
  std::vector<Layer> layers() const override {
    std::vector<Layer> layers;
    for (const Block& block : blocks_) {
      layers.insert(layers.end(),
                    {block.modulation, block.query, block.key, block.value, block.out, block.fc1, block.fc2});
    }
    layers.insert(layers.end(), {last_modulation_, velocity_});
    return layers;
  }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override;

 private:
  // What the block is told beside its tokens: [n, width].
  at::Tensor told(const Weights& weights, const Block& block, const at::Tensor& waves,
                  const at::Tensor& condition) const {
    const at::Tensor time = block.time2(weights, activate(Activation::kSilu, block.time1(weights, waves)));
    return activate(Activation::kSilu, time + embedded(weights.at(block.table), condition).sum(1));
  }
  at::Tensor through(const Weights& weights, const Block& block, const at::Tensor& x,
                     const at::Tensor& of_block, const Pass& pass) const;

  Shape shape_;
  at::Tensor positions_;
  std::vector<Block> blocks_;
  Layer patches_{"pos_embed.proj"};
  Layer last_modulation_{"proj_out_1"}, velocity_{"proj_out_2"};
};

std::vector<TensorInfo> Dit::parameters() const {
  const int64_t width = shape_.width();
  ParameterList all;
  all.add(patches_, {width, shape_.channels, shape_.patch, shape_.patch});
  for (const Block& block : blocks_) {
    all.add(block.time1.weight, {width, kTimeChannels});
    all.add(block.time1.bias, {width});
    all.add(block.time2.weight, {width, width});
    all.add(block.time2.bias, {width});
    all.add(block.table, {shape_.conditions + 1, width});
    all.add(block.modulation, {6 * width, width});
    for (const Layer* layer : {&block.query, &block.key, &block.value}) {
      all.add(*layer, {width, width}, shape_.attention_bias);
    }
    all.add(block.out, {width, width});
    all.add(block.fc1, {kMlpRatio * width, width});
    all.add(block.fc2, {width, kMlpRatio * width});
  }
  all.add(last_modulation_, {2 * width, width});
  all.add(velocity_, {feature_size(), width});
  return all.sorted();
}

// x (1 + scale) + shift, the same for all tokens of an example.
at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return x * (1 + scale) + shift;
}

at::Tensor Dit::through(const Weights& weights, const Block& block, const at::Tensor& x,
                        const at::Tensor& of_block, const Pass& pass) const {
  const auto parts = apply(block.modulation, weights, of_block, pass).unsqueeze(1).chunk(6, -1);
  const at::Tensor seen = modulated(normed(x, kFixedEpsilon), parts[0], parts[1]);
  const at::Tensor query = apply(block.query, weights, seen, pass);
  const at::Tensor key = apply(block.key, weights, seen, pass);
  const at::Tensor value = apply(block.value, weights, seen, pass);
  const at::Tensor mixed = attention_of_heads(query, key, value, shape_.heads, {});
  const at::Tensor attended = x + parts[2] * apply(block.out, weights, mixed, pass);
  const at::Tensor read = modulated(normed(attended, shape_.epsilon), parts[3], parts[4]);
  const at::Tensor hidden = activate(Activation::kGeluTanh, apply(block.fc1, weights, read, pass));
  return attended + parts[5] * apply(block.fc2, weights, hidden, pass);
}

at::Tensor Dit::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                         const Pass& pass) const {
  FUSEGRID_ASSERT(inputs.state.defined() && inputs.time.defined() && inputs.condition.defined(),
                  "a flow reads a state, a time and a condition");
  const at::Tensor& kernel = weights.at(patches_.weight);
  const at::Tensor waves = time_waves(inputs.time).to(kernel.scalar_type());
  at::Tensor x = patches_of(inputs.state.to(kernel.scalar_type()), kernel) + weights.at(patches_.bias) +
                 positions_.to(kernel.options());
  at::Tensor first;  // what the first block is told, and the last norm as well
  for (const Block& block : blocks_) {
    const at::Tensor of_block = told(weights, block, waves, inputs.condition);
    first = first.defined() ? first : of_block;
    x = through(weights, block, x, of_block, pass);
  }
  const auto parts = apply(last_modulation_, weights, first, pass).unsqueeze(1).chunk(2, -1);
  const at::Tensor last = modulated(normed(x, kFixedEpsilon), parts[0], parts[1]);
  return pooled(apply(velocity_, weights, last, pass), {}, pooling);
}

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.heads = reader.size("num_attention_heads", 16);
  shape.head_width = reader.size("attention_head_dim", 72);
  shape.channels = reader.size("in_channels", 4);
  shape.out_channels = reader.size_or_null("out_channels").value_or(shape.channels);
  shape.blocks = reader.size("num_layers", 28);
  shape.size = reader.size("sample_size", 32);
  shape.patch = reader.size("patch_size", 2);
  shape.conditions = reader.size("num_embeds_ada_norm", 1000);
  shape.attention_bias = reader.flag("attention_bias", true);
  shape.epsilon = reader.positive("norm_eps", 1e-5);
  reader.require_only("norm_type", "ada_norm_zero");
  reader.require_only("activation_fn", "gelu-approximate");
  reader.require_only("norm_elementwise_affine", false);
  reader.require_only("upcast_attention", false);
  reader.require(shape.width() % 4 == 0, "attention_head_dim",
                 "such that its product with num_attention_heads, " + std::to_string(shape.width()) +
                     ", is a multiple of 4");
  reader.require(shape.out_channels == shape.channels, "out_channels",
                 "in_channels, " + std::to_string(shape.channels) +
                     ": features are a velocity, which has the channels of the state");
  reader.require(shape.size % shape.patch == 0, "sample_size",
                 "a multiple of patch_size, " + std::to_string(shape.patch));
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Dit>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "dit"},
          {"num_attention_heads", shape.heads},
          {"attention_head_dim", shape.head_width},
          {"in_channels", shape.channels},
          {"num_layers", shape.blocks},
          {"sample_size", shape.size},
          {"patch_size", shape.patch},
          {"num_embeds_ada_norm", shape.conditions},
          {"attention_bias", shape.attention_bias},
          {"norm_eps", shape.epsilon}};
}

const bool registered = [] {
  architecture_registry().add("dit", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::dit
