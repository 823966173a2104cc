// Residual networks of convolutions, with the parameter names of HuggingFace's ResNetModel. Features are the mean over
// the positions of the last block's map, or without pooling the map: [n, height width, channels].
//
// Source:  He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385; networks for small
//          images (ResNet-20): its section 4.2; stages that keep their size by dilation: Yu et al., "Dilated Residual
//          Networks", CVPR 2017, arXiv:1705.09914.
// Differs: where a block of a network for small images changes the channels, its shortcut is a 1 x 1 convolution with a
//          norm, not a filling with zeros.
// Config:  model_type resnet: fields that are not given have HuggingFace's defaults; image_size, which HuggingFace does
//          not know, 224, or height and width; output_stride, which it does not know either, 32, or 16 or 8: stages
//          that would shrink the map further are dilated, as torchvision's replace_stride_with_dilation does it. Or
//          resnet_cifar, which is this program's own: image_size; hidden_sizes and depths, the channels and blocks of
//          each stage; layer_type, basic (where it is not given) or bottleneck; stem_stride 1 or 2; norm, batch (where
//          it is not given) or layer; dilations of the stages (1 where they are not given): one of more than 1 keeps
//          the size that it finds; num_channels 3, or 1, their mean, for gray images. num_labels, of both: of a head
//          inside the model (models/class_head.h).

#include <ATen/ops/zeros.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "models/channel_norm.h"
#include "models/class_head.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid::families::resnet {
namespace {

constexpr int64_t kWholeStride = 32;        // of a published network without dilation
constexpr const char* kPrefix = "resnet.";  // in files of a model with a head

struct Shape {
  PixelSize image;
  int64_t channels = 3;
  int64_t stem_width = 0, stem_side = 0, stem_stride = 0;
  bool stem_pool = false;  // the largest of 3 x 3 positions, every second of them
  std::vector<int64_t> widths, depths, strides, dilations;  // of each stage
  std::vector<int64_t> first_dilations;                     // the same, of its first block
  std::vector<bool> shortcuts;  // whether its first block has one whatever its channels
  int64_t output_stride = 0;    // of a published one
  bool bottleneck = false, shrinks_in_first = false;
  ChannelNormKind norm = ChannelNormKind::kBatch;
  ClassHead head = {};
};

PixelSize halves(const PixelSize& size) {
  return {(size.height + 1) / 2, (size.width + 1) / 2};
}

// A convolution without bias and its norm.
struct Unit {
  Unit(const std::string& prefix, const std::vector<int64_t>& kernel, const Convolution& how,
       ChannelNormKind kind)
      : convolution(prefix + "convolution"),
        norm(kind, prefix + "normalization", kernel.front()),
        shape(kernel) {
    convolution.convolution = how;
  }
  at::Tensor operator()(const Weights& weights, const at::Tensor& x, const Pass& pass) const {
    return norm(weights, apply(convolution, weights, x, pass), pass);
  }

  Layer convolution;
  ChannelNorm norm;
  std::vector<int64_t> shape;  // of the kernel
};

Unit unit(const std::string& prefix, int64_t out, int64_t in, int64_t side, int64_t stride, int64_t dilation,
          ChannelNormKind kind) {
  const Convolution how{.stride = stride, .padding = dilation * (side / 2), .dilation = dilation};
  return {prefix, {out, in, side, side}, how, kind};
}

struct Block {
  std::string name;
  std::vector<Unit> units;
  std::optional<Unit> shortcut;  // where the sum's parts differ in shape
  std::string stream;            // the axis group of the sum
  std::string inner(size_t i) const { return name + ".layer." + std::to_string(i); }
};

class ResNet final : public Architecture {
 public:
  ResNet(std::string name, const Shape& shape);

  std::string name() const override { return name_; }
  InputFormat input() const override {
    return {.image_size = shape_.image.height, .image_width = shape_.image.width};
  }
  int64_t feature_size() const override { return shape_.widths.back(); }
  int64_t num_tokens() const override { return map_.height * map_.width; }
  PixelSize map_size() const override { return map_; }
  std::vector<Layer> layers() const override;
  std::vector<AxisGroup> axis_groups() const override;
  std::optional<OwnHead> own_head() const override { return shape_.head.own_head(); }
  std::vector<TensorInfo> parameters() const override;
  std::vector<std::string> names_in_files(const std::string& parameter) const override;
  void complete(nlohmann::json& config, Weights& stored) const override;
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass) const override;

 private:
  std::vector<const Unit*> all_units() const;  // in forward order
  void add_block(size_t stage, int64_t index, int64_t in);

  std::string name_;
  Shape shape_;
  Unit stem_;
  std::string stem_stream_ = "embedder";
  std::vector<Block> blocks_;
  PixelSize map_;  // the last one
};

ResNet::ResNet(std::string name, const Shape& shape)
    : name_(std::move(name)),
      shape_(shape),
      stem_(unit("embedder.embedder.", shape.stem_width, shape.channels, shape.stem_side, shape.stem_stride,
                 1, shape.norm)) {
  map_ = shape.stem_stride == 2 ? halves(shape.image) : shape.image;
  map_ = shape.stem_pool ? halves(map_) : map_;
  int64_t in = shape.stem_width;
  for (size_t stage = 0; stage < shape.widths.size(); ++stage) {
    map_ = shape.strides[stage] == 2 ? halves(map_) : map_;
    for (int64_t i = 0; i < shape.depths[stage]; ++i) {
      add_block(stage, i, in);
      in = shape.widths[stage];
    }
  }
}

void ResNet::add_block(size_t stage, int64_t index, int64_t in) {
  const int64_t out = shape_.widths[stage];
  const int64_t dilation = (index == 0 ? shape_.first_dilations : shape_.dilations)[stage];
  const int64_t stride = index == 0 ? shape_.strides[stage] : 1;
  Block block;
  block.name = "encoder.stages." + std::to_string(stage) + ".layers." + std::to_string(index);
  const auto add = [&](int64_t to, int64_t from, int64_t side, int64_t step) {
    block.units.push_back(unit(block.inner(block.units.size()) + ".", to, from, side, step,
                               side == 1 ? 1 : dilation, shape_.norm));
  };
  if (shape_.bottleneck) {
    const int64_t inside = out / 4;
    add(inside, in, 1, shape_.shrinks_in_first ? stride : 1);
    add(inside, inside, 3, shape_.shrinks_in_first ? 1 : stride);
    add(out, inside, 1, 1);
  } else {
    add(out, in, 3, stride);
    add(out, out, 3, 1);
  }
  block.stream = blocks_.empty() ? stem_stream_ : blocks_.back().stream;
  if (in != out || (index == 0 && shape_.shortcuts[stage])) {
    block.shortcut = unit(block.name + ".shortcut.", out, in, 1, stride, 1, shape_.norm);
    block.stream = "encoder.stages." + std::to_string(stage);
  }
  blocks_.push_back(std::move(block));
}

std::vector<const Unit*> ResNet::all_units() const {
  std::vector<const Unit*> all{&stem_};
  for (const Block& block : blocks_) {
    for (const Unit& each : block.units) {
      all.push_back(&each);
    }
    if (block.shortcut) {
      all.push_back(&*block.shortcut);
    }
  }
  return all;
}

std::vector<Layer> ResNet::layers() const {
  std::vector<Layer> layers;
  for (const Unit* each : all_units()) {
    layers.push_back(each->convolution);
  }
  return layers;
}

std::vector<TensorInfo> ResNet::parameters() const {
  ParameterList all;
  for (const Unit* each : all_units()) {
    all.add(each->convolution, each->shape, /*bias=*/false);
    each->norm.add_to(all);
  }
  shape_.head.add_to(all, feature_size());
  return all.sorted();
}

std::vector<AxisGroup> ResNet::axis_groups() const {
  std::vector<AxisGroup> groups;
  const auto start = [&](const std::string& name, const Unit& maker) {
    groups.push_back({.name = name, .size = maker.shape[0]});
  };
  const auto make = [](AxisGroup& group, const Unit& maker) {
    group.axes.push_back({maker.convolution.weight, 0, true});
    maker.norm.add_to(group);
  };
  const auto read = [](AxisGroup& group, const Unit& reader) {
    group.axes.push_back({reader.convolution.weight, 1, false});
  };

  AxisGroup stream{.name = stem_stream_, .size = shape_.stem_width};
  make(stream, stem_);
  for (const Block& block : blocks_) {
    read(stream, block.units.front());
    for (size_t i = 0; i + 1 < block.units.size(); ++i) {
      start(block.inner(i), block.units[i]);
      make(groups.back(), block.units[i]);
      read(groups.back(), block.units[i + 1]);
    }
    if (block.shortcut) {
      read(stream, *block.shortcut);
      groups.push_back(std::exchange(stream, {.name = block.stream, .size = block.shortcut->shape[0]}));
      make(stream, *block.shortcut);
    }
    make(stream, block.units.back());
  }
  stream.features = true;
  groups.push_back(std::move(stream));
  shape_.head.add_to(groups);
  return groups;
}

std::vector<std::string> ResNet::names_in_files(const std::string& parameter) const {
  if (parameter.starts_with("classifier.")) {
    return {parameter, "classifier.1." + parameter.substr(std::string("classifier.").size())};
  }
  return {parameter, kPrefix + parameter};
}

// PyTorch's counters of the batches that made running statistics.
void ResNet::complete(nlohmann::json&, Weights& stored) const {
  Weights counters;
  for (const auto& [name, tensor] : stored) {
    const std::string statistic = "running_mean";
    if (name.ends_with(statistic)) {
      counters.emplace(name.substr(0, name.size() - statistic.size()) + "num_batches_tracked",
                       at::zeros({}, at::kLong));
    }
  }
  stored.insert(counters.begin(), counters.end());
}

at::Tensor ResNet::features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                            const Pass& pass) const {
  const auto made = [&](const std::string& group, const at::Tensor& sum) {
    const at::Tensor x = activate(Activation::kRelu, sum);
    show(pass, group, x);
    return x;
  };
  at::Tensor x =
      channels_of(inputs.images, shape_.channels).to(weights.at(stem_.convolution.weight).scalar_type());
  x = made(stem_stream_, stem_(weights, x, pass));
  if (shape_.stem_pool) {
    x = halved_by_overlapping_max(x);
  }
  for (const Block& block : blocks_) {
    at::Tensor y = block.units.front()(weights, x, pass);
    for (size_t i = 1; i < block.units.size(); ++i) {
      y = block.units[i](weights, made(block.inner(i - 1), y), pass);
    }
    x = made(block.stream, y + (block.shortcut ? (*block.shortcut)(weights, x, pass) : x));
  }
  return pooled_map(x, pooling);
}

// Fields that both types have.
Shape read_stages(const ConfigReader& reader, const std::vector<int64_t>& widths,
                  const std::vector<int64_t>& depths, const std::string& layer_type) {
  Shape shape;
  shape.widths = widths;
  shape.depths = depths;
  shape.bottleneck = reader.one_of("layer_type", layer_type, {"basic", "bottleneck"}) == "bottleneck";
  shape.head = ClassHead::read(reader);
  reader.require(depths.size() == widths.size(), "depths", "as many numbers as hidden_sizes has");
  for (const int64_t width : widths) {
    reader.require(!shape.bottleneck || width % 4 == 0, "hidden_sizes",
                   "multiples of 4 for bottleneck layers");
  }
  reader.require_only("hidden_act", "relu");
  return shape;
}

// One number, or height and width.
PixelSize read_image(const nlohmann::json& config, const ConfigReader& reader) {
  if (const auto given = config.find("image_size"); given == config.end() || !given->is_array()) {
    const int64_t side = reader.size("image_size", 224);
    return {side, side};
  }
  const std::vector<int64_t> sides = reader.sizes("image_size");
  reader.require(sides.size() == 2, "image_size", "one number, or height and width");
  return {sides[0], sides[1]};
}

// Stages that would go beyond it keep the size that they find and are dilated by what they do not shrink; their first
// blocks by what those before them did not.
void read_output_stride(const ConfigReader& reader, Shape& shape) {
  const int64_t wanted = shape.output_stride = reader.size("output_stride", kWholeStride);
  reader.require(wanted == 8 || wanted == 16 || wanted == kWholeStride, "output_stride", "8, 16 or 32");
  reader.require(wanted == kWholeStride || (shape.bottleneck && !shape.shrinks_in_first), "output_stride",
                 "32 of a network without bottleneck layers that shrink in their convolution of 3 x 3");
  int64_t reached = 4, dilation = 1;  // behind the stem
  for (int64_t& stride : shape.strides) {
    shape.first_dilations.push_back(dilation);
    shape.shortcuts.push_back(stride == 2);  // also where it is dilated instead
    if (stride == 2 && reached == wanted) {
      stride = 1;
      dilation *= 2;
    }
    reached *= stride;
    shape.dilations.push_back(dilation);
  }
}

Shape read_published(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape = read_stages(reader, reader.sizes("hidden_sizes", {256, 512, 1024, 2048}),
                            reader.sizes("depths", {3, 4, 6, 3}), "bottleneck");
  reader.require_only("num_channels", shape.channels);
  shape.image = read_image(config, reader);
  shape.stem_width = reader.size("embedding_size", 64);
  shape.stem_side = 7;
  shape.stem_stride = 2;
  shape.stem_pool = true;
  shape.strides.assign(shape.widths.size(), 2);
  shape.strides.front() = reader.flag("downsample_in_first_stage", false) ? 2 : 1;
  shape.shrinks_in_first = reader.flag("downsample_in_bottleneck", false);
  read_output_stride(reader, shape);
  return shape;
}

Shape read_small(const nlohmann::json& config) {
  const ConfigReader reader(config, "");
  Shape shape = read_stages(reader, reader.sizes("hidden_sizes"), reader.sizes("depths"), "basic");
  const size_t stages = shape.widths.size();
  const int64_t side = reader.size("image_size");
  shape.image = {side, side};
  shape.channels = read_channels(reader);
  shape.stem_width = shape.widths.front();
  shape.stem_side = 3;
  shape.stem_stride = reader.size("stem_stride", 1);
  reader.require(shape.stem_stride <= 2, "stem_stride", "1 or 2");
  shape.norm = read_norm(reader, "batch", {"batch", "layer"});
  shape.dilations = reader.sizes("dilations", std::vector<int64_t>(stages, 1));
  reader.require(shape.dilations.size() == stages, "dilations", "as many numbers as hidden_sizes has");
  shape.first_dilations = shape.dilations;
  for (size_t stage = 0; stage < stages; ++stage) {
    shape.strides.push_back(stage == 0 || shape.dilations[stage] > 1 ? 1 : 2);
    shape.shortcuts.push_back(shape.strides.back() == 2);
  }
  return shape;
}

template <Shape (*read)(const nlohmann::json&)>
std::unique_ptr<Architecture> make(const nlohmann::json& config) {
  return std::make_unique<ResNet>(config.at("model_type").get<std::string>(), read(config));
}

nlohmann::json settings_of_stages(const Shape& shape) {
  const bool square = shape.image.height == shape.image.width;
  return {{"image_size", square ? nlohmann::json(shape.image.height)
                                : nlohmann::json({shape.image.height, shape.image.width})},
          {"hidden_sizes", shape.widths},
          {"depths", shape.depths},
          {"layer_type", shape.bottleneck ? "bottleneck" : "basic"},
          {"num_labels", shape.head.labels}};
}

nlohmann::json published_settings(const nlohmann::json& config) {
  const Shape shape = read_published(config);
  nlohmann::json settings = settings_of_stages(shape);
  settings["model_type"] = "resnet";
  settings["embedding_size"] = shape.stem_width;
  settings["downsample_in_first_stage"] = shape.strides.front() == 2;
  if (shape.output_stride != kWholeStride) {
    settings["output_stride"] = shape.output_stride;
  }
  settings["downsample_in_bottleneck"] = shape.shrinks_in_first;
  return settings;
}

nlohmann::json small_settings(const nlohmann::json& config) {
  const Shape shape = read_small(config);
  nlohmann::json settings = settings_of_stages(shape);
  settings["model_type"] = "resnet_cifar";
  settings["num_channels"] = shape.channels;
  settings["stem_stride"] = shape.stem_stride;
  settings["norm"] = to_string(shape.norm);
  settings["dilations"] = shape.dilations;
  return settings;
}

const bool registered = [] {
  architecture_registry().add("resnet", {make<read_published>, published_settings});
  architecture_registry().add("resnet_cifar", {make<read_small>, small_settings});
  return true;
}();

}  // namespace
}  // namespace fusegrid::families::resnet
