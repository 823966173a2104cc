// A plain convolutional network in the manner of VGG: stages of 3 x 3 convolutions with ReLU, after each stage the
// largest of 2 x 2 positions, in the end the mean over positions.
//
// Source:  Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
//          arXiv:1409.1556.
// Differs: any number of stages, and the mean over positions in place of the fully connected layers.
// Config:  model_type cnn, which is this program's own: image_size; hidden_sizes, the channels of each stage; depths,
//          the convolutions of each stage (one where it is not given); num_channels 3, or 1, their mean, for gray
//          images; num_labels, of a head inside the model (models/class_head.h).

#include <nlohmann/json.hpp>

#include "models/class_head.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid::families::cnn {
namespace {

constexpr int64_t kSide = 3;  // of a kernel

struct Shape {
  int64_t image = 0, input_channels = 3;
  std::vector<int64_t> channels, depths;  // of each stage
  ClassHead head = {};
};

class Cnn final : public Architecture {
 public:
  explicit Cnn(const Shape& shape) : shape_(shape) {
    for (size_t stage = 0; stage < shape.channels.size(); ++stage) {
      for (int64_t i = 0; i < shape.depths[stage]; ++i) {
        Layer& layer = convolutions_.emplace_back("layers." + std::to_string(convolutions_.size()));
        layer.convolution = Convolution{.padding = kSide / 2};
        channels_.push_back(shape.channels[stage]);
      }
    }
  }

  std::string name() const override { return "cnn"; }
  InputFormat input() const override { return {.image_size = shape_.image}; }
  int64_t feature_size() const override { return channels_.back(); }
  int64_t num_tokens() const override { return 1; }
  // None: a hook stands in for x W^T + b, for which each x would have to be unfolded to nine times its size. Methods
  // with hooks treat kernels as tensors of no layer; RegMean averages them.
  std::vector<Layer> layers() const override { return {}; }
  std::optional<OwnHead> own_head() const override { return shape_.head.own_head(); }
  std::vector<AxisGroup> axis_groups() const override {
    std::vector<AxisGroup> groups = chain_groups(convolutions_, channels_);
    shape_.head.add_to(groups);
    return groups;
  }
  std::vector<TensorInfo> parameters() const override {
    ParameterList all;
    int64_t in = shape_.input_channels;
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      all.add(convolutions_[i], {channels_[i], in, kSide, kSide});
      in = channels_[i];
    }
    shape_.head.add_to(all, in);
    return all.sorted();
  }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override {
    check_one_row(pooling, name());
    at::Tensor x = channels_of(inputs.images, shape_.input_channels)
                       .to(weights.at(convolutions_.front().weight).scalar_type());
    auto next = convolutions_.begin();
    for (const int64_t depth : shape_.depths) {
      for (int64_t i = 0; i < depth; ++i, ++next) {
        x = activate(Activation::kRelu, apply(*next, weights, x, {}));
        show(pass, next->name, x);
      }
      x = halved_by_max(x);
    }
    return x.mean({2, 3});
  }

 private:
  Shape shape_;
  std::vector<Layer> convolutions_;
  std::vector<int64_t> channels_;  // that each convolution makes
};

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape;
  shape.input_channels = read_channels(reader);
  shape.head = ClassHead::read(reader);
  shape.image = reader.size("image_size");
  shape.channels = reader.sizes("hidden_sizes");
  const size_t stages = shape.channels.size();
  shape.depths = config.contains("depths") ? reader.sizes("depths") : std::vector<int64_t>(stages, 1);
  reader.require(shape.depths.size() == stages, "depths", "as many numbers as hidden_sizes has");
  const bool lasts = stages < 32 && shape.image >> stages > 0;
  reader.require(lasts, "image_size",
                 "at least 2 to the power of the number of stages, each of which halves it");
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
          {"num_labels", shape.head.labels}};
}

const bool registered = [] {
  architecture_registry().add("cnn", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::cnn
