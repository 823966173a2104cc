// A perceptron: the values of an image in one row, then affine layers with an activation after each. The features are
// what the last of them gives.
//
// Config:  model_type mlp, which is this program's own: image_size; hidden_sizes, the width of each layer; hidden_act,
//          relu (where it is not given) or gelu; num_channels 3, or 1,
//          their mean, for gray images; num_labels, of a head inside the model (models/class_head.h).

#include <nlohmann/json.hpp>

#include "models/class_head.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid::families::mlp {
namespace {

struct Shape {
  int64_t image = 0, channels = 3;
  std::vector<int64_t> widths;
  Activation activation = Activation::kRelu;
  ClassHead head = {};
};

class Mlp final : public Architecture {
 public:
  explicit Mlp(const Shape& shape) : shape_(shape) {
    for (size_t i = 0; i < shape.widths.size(); ++i) {
      layers_.emplace_back("layers." + std::to_string(i));
    }
  }

  std::string name() const override { return "mlp"; }
  InputFormat input() const override { return {.image_size = shape_.image}; }
  int64_t feature_size() const override { return shape_.widths.back(); }
  int64_t num_tokens() const override { return 1; }
  std::vector<Layer> layers() const override { return layers_; }
  std::optional<OwnHead> own_head() const override { return shape_.head.own_head(); }
  std::vector<AxisGroup> axis_groups() const override {
    std::vector<AxisGroup> groups = chain_groups(layers_, shape_.widths);
    shape_.head.add_to(groups);
    return groups;
  }
  std::vector<TensorInfo> parameters() const override {
    ParameterList all;
    int64_t in = shape_.channels * shape_.image * shape_.image;
    for (size_t i = 0; i < layers_.size(); ++i) {
      all.add(layers_[i], {shape_.widths[i], in});
      in = shape_.widths[i];
    }
    shape_.head.add_to(all, in);
    return all.sorted();
  }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override {
    check_one_row(pooling, name());
    at::Tensor x = channels_of(inputs.images, shape_.channels)
                       .flatten(1)
                       .to(weights.at(layers_.front().weight).scalar_type());
    for (const Layer& layer : layers_) {
      x = activate(shape_.activation, apply(layer, weights, x, pass));
      show(pass, layer.name, x);
    }
    return x;
  }

 private:
  Shape shape_;
  std::vector<Layer> layers_;
};

Shape read_shape(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  return {reader.size("image_size"), read_channels(reader), reader.sizes("hidden_sizes"),
          reader.activation("hidden_act", "relu", {"relu", "gelu"}), ClassHead::read(reader)};
}

std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<Mlp>(read_shape(config));
}

nlohmann::json settings(const nlohmann::json& config) {
  const Shape shape = read_shape(config);
  return {{"model_type", "mlp"},
          {"image_size", shape.image},
          {"num_channels", shape.channels},
          {"hidden_sizes", shape.widths},
          {"hidden_act", to_string(shape.activation)},
          {"num_labels", shape.head.labels}};
}

const bool registered = [] {
  architecture_registry().add("mlp", {make, settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::mlp
