// A plain convolutional network in the manner of VGG: stages of 3 x 3 convolutions with ReLU, after each stage the
// largest of 2 x 2 positions. Features are the mean over the positions of the last map, or without pooling the map:
// [n, height width, channels].
//
// Source:  Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
//          arXiv:1409.1556.
// Differs: any number of stages, and the mean over positions in place of the fully connected layers.
// Config:  model_type cnn, which is this program's own: image_size; hidden_sizes, the channels of each stage; depths,
//          the convolutions of each stage (one where it is not given); norm, none (where it is not given), batch or
//          layer: with a norm the convolutions have no biases; pool_last, whether the last stage is followed by the
//          largest of 2 x 2 positions too (true where it is not given); num_channels 3, or 1, their mean, for gray
//          images; num_labels, of a head inside the model (models/class_head.h).

#include <nlohmann/json.hpp>

#include "models/channel_norm.h"
#include "models/class_head.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid::families::cnn {
namespace {

constexpr int64_t kSide = 3;  // of a kernel

struct Shape {
  int64_t image = 0, input_channels = 3;
  std::vector<int64_t> channels, depths;  // of each stage
  ChannelNormKind norm = ChannelNormKind::kNone;
  bool pool_last = true;
  ClassHead head = {};

  size_t pools() const { return channels.size() - (pool_last ? 0 : 1); }
  bool has_biases() const { return norm == ChannelNormKind::kNone; }
};

class Cnn final : public Architecture {
 public:
  explicit Cnn(const Shape& shape) : shape_(shape) {
    for (size_t stage = 0; stage < shape.channels.size(); ++stage) {
      for (int64_t i = 0; i < shape.depths[stage]; ++i) {
        Layer& layer = convolutions_.emplace_back("layers." + std::to_string(convolutions_.size()));
        layer.convolution = Convolution{.padding = kSide / 2};
        norms_.emplace_back(shape.norm, layer.name + ".norm", shape.channels[stage]);
        channels_.push_back(shape.channels[stage]);
      }
    }
  }

  std::string name() const override { return "cnn"; }
  InputFormat input() const override { return {.image_size = shape_.image}; }
  int64_t feature_size() const override { return channels_.back(); }
  int64_t num_tokens() const override { return side() * side(); }
  PixelSize map_size() const override { return {side(), side()}; }
  std::vector<Layer> layers() const override { return convolutions_; }
  std::optional<OwnHead> own_head() const override { return shape_.head.own_head(); }
  std::vector<AxisGroup> axis_groups() const override {
    std::vector<AxisGroup> groups = chain_groups(convolutions_, channels_, shape_.has_biases());
    for (size_t i = 0; i < groups.size(); ++i) {
      norms_[i].add_to(groups[i]);
    }
    shape_.head.add_to(groups);
    return groups;
  }
  std::vector<TensorInfo> parameters() const override {
    ParameterList all;
    int64_t in = shape_.input_channels;
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      all.add(convolutions_[i], {channels_[i], in, kSide, kSide}, shape_.has_biases());
      norms_[i].add_to(all);
      in = channels_[i];
    }
    shape_.head.add_to(all, in);
    return all.sorted();
  }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override {
    at::Tensor x = channels_of(inputs.images, shape_.input_channels)
                       .to(weights.at(convolutions_.front().weight).scalar_type());
    size_t next = 0;
    for (size_t stage = 0; stage < shape_.channels.size(); ++stage) {
      for (int64_t i = 0; i < shape_.depths[stage]; ++i, ++next) {
        const Layer& convolution = convolutions_[next];
        x = norms_[next](weights, apply(convolution, weights, x, pass), pass);
        x = activate(Activation::kRelu, x);
        show(pass, convolution.name, x);
      }
      if (stage < shape_.pools()) {
        x = halved_by_max(x);
      }
    }
    return pooled_map(x, pooling);
  }

 private:
  int64_t side() const { return shape_.image >> shape_.pools(); }  // of the last map

  Shape shape_;
  std::vector<Layer> convolutions_;
  std::vector<ChannelNorm> norms_;  // of each convolution
  std::vector<int64_t> channels_;   // that each convolution makes
};

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.input_channels = read_channels(reader);
  shape.head = ClassHead::read(reader);
  shape.image = reader.size("image_size");
  shape.channels = reader.sizes("hidden_sizes");
  const size_t stages = shape.channels.size();
  shape.depths = reader.sizes("depths", std::vector<int64_t>(stages, 1));
  shape.norm = read_norm(reader, "none", {"none", "batch", "layer"});
  shape.pool_last = reader.flag("pool_last", true);
  reader.require(shape.depths.size() == stages, "depths", "as many numbers as hidden_sizes has");
  const bool lasts = stages < 32 && shape.image >> shape.pools() > 0;
  reader.require(
      lasts, "image_size",
      "at least 2 to the power of the number of stages that halve it, " + std::to_string(shape.pools()));
  return shape;
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Cnn>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "cnn"},
          {"image_size", shape.image},
          {"num_channels", shape.input_channels},
          {"hidden_sizes", shape.channels},
          {"depths", shape.depths},
          {"norm", to_string(shape.norm)},
          {"pool_last", shape.pool_last},
          {"num_labels", shape.head.labels}};
}

const bool registered = [] {
  architecture_registry().add("cnn", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::cnn
