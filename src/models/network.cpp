#include "models/network.h"

#include <map>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// Per channel, in units of stored pixel values: [1, channels, 1, 1]. Kept: a copy to a GPU would wait for it in each
// pass.
const at::Tensor& per_channel(const std::vector<double>& values, at::Device device) {
  thread_local std::map<std::pair<std::vector<double>, std::string>, at::Tensor> kept;
  at::Tensor& tensor = kept[{values, device.str()}];
  if (!tensor.defined()) {
    tensor = (at::tensor(values, at::kDouble) * 255).to(at::kFloat).view({1, -1, 1, 1}).to(device);
  }
  return tensor;
}

void check_images(const at::Tensor& images, const InputFormat& format) {
  FUSEGRID_ASSERT(images.dim() == 4 && images.size(1) == 3 && images.scalar_type() == at::kByte,
                  "images must be uint8 [batch, 3, height, width]");
  const PixelSize size = format.pixels(), seen{images.size(2), images.size(3)};
  if (format.image_size == 0) {
    throw ConfigError("the model reads tokens, but the task has images; make a task pack for models of text");
  }
  if (seen != size) {
    throw ConfigError("the model takes images of " + to_string(size) + " pixels, but the task's are " +
                      to_string(seen) + "; make a task pack of the model's size");
  }
}

// Without looking at the ids: whoever opens a pack compares its vocabulary with the models'.
void check_tokens(const Inputs& inputs, const InputFormat& format) {
  if (format.vocabulary == 0) {
    throw ConfigError(
        "the model reads images, but the task has tokens; make a task pack for models of images");
  }
  const int64_t width = inputs.tokens.size(1);
  if (width > token_width(format.positions)) {
    throw ConfigError("the model takes rows of at most " + std::to_string(format.positions) +
                      " tokens, but the task has rows of up to " + std::to_string(width) +
                      "; make a task pack with shorter rows");
  }
}

// Without looking at the ids, as of tokens.
void check_state(const at::Tensor& state, const InputFormat& format) {
  if (format.state_size == 0) {
    throw ConfigError(
        "the task asks for samples, but the model is no flow; make a task pack for such models");
  }
  if (state.size(1) != format.state_channels || state.size(2) != format.state_size ||
      state.size(3) != format.state_size) {
    throw ConfigError("the model makes pictures of " + std::to_string(format.state_size) + " x " +
                      std::to_string(format.state_size) + " pixels with " +
                      std::to_string(format.state_channels) + " channels, but the task's are " +
                      std::to_string(state.size(2)) + " x " + std::to_string(state.size(3)) + " with " +
                      std::to_string(state.size(1)) + "; make a task pack of the model's size");
  }
}

}  // namespace

Inputs Network::ready(const Inputs& inputs) const {
  const InputFormat format = architecture->input();
  Inputs moved = inputs.to(device);
  if (inputs.images.defined()) {
    check_images(inputs.images, format);
    moved.images = (moved.images.to(at::kFloat) - per_channel(normalisation.mean, device)) /
                   per_channel(normalisation.std, device);
  }
  if (!inputs.tokens.defined()) {
    return moved;
  }
  if (inputs.state.defined()) {
    check_state(inputs.state, format);
    return inputs.to(device);
  }
  check_tokens(inputs, format);
  // a row is filled up to a multiple of some width, which may be more than there are positions
  moved.tokens = moved.tokens.narrow(1, 0, std::min(moved.tokens.size(1), format.positions));
  return moved;
}

Pooling Network::pooling() const {
  for (const auto& [head, readout] : readouts) {
    if (readout->pooling() != Pooling::kNone) {
      return readout->pooling();
    }
  }
  return readouts.empty() ? Pooling::kFirst : Pooling::kNone;
}

Pooling Network::pooling(const Inputs& inputs) const {
  return inputs.answer.defined() ? Pooling::kNone : pooling();
}

at::Tensor Network::features(const Weights& weights, const Inputs& inputs, const Pass& pass) const {
  if (!are_held_in(weights, precision)) {
    return features(rounded(weights, precision), inputs, pass);
  }
  return architecture->features(weights, inputs, pooling(inputs), pass);
}

const Readout& Network::readout(const std::string& head) const {
  const auto it = readouts.find(head);
  if (it == readouts.end()) {
    std::vector<std::string> known;
    for (const auto& [name, unused] : readouts) {
      known.push_back(name);
    }
    throw ConfigError("the zoo has no head for task '" + head + "'. Heads: " + join(known, ", "));
  }
  return *it->second;
}

at::Tensor Network::read(const Weights& model, const at::Tensor& features, const std::string& head) const {
  return readout(head)(model, features);
}

at::Tensor Network::output(const Weights& weights, const Inputs& inputs, const std::string& head,
                           const Pass& pass) const {
  return read(weights, features(weights, inputs, pass), head);
}

std::string digest(const Network& network) {
  Weights tensors{{"mean", at::tensor(network.normalisation.mean, at::kDouble)},
                  {"std", at::tensor(network.normalisation.std, at::kDouble)},
                  {"precision", at::tensor({static_cast<int64_t>(network.precision)}, at::kLong)},
                  {"pooling", at::tensor({static_cast<int64_t>(network.pooling())}, at::kLong)}};
  for (const auto& [head, readout] : network.readouts) {
    for (const auto& [name, tensor] : readout->weights()) {
      tensors.emplace("head/" + head + "/" + name, tensor);
    }
  }
  return digest(tensors);
}

}  // namespace fusegrid
