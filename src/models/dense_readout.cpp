#include "models/dense_readout.h"

#include <algorithm>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "models/channel_norm.h"
#include "models/deeplab.h"
#include "models/operators.h"

namespace fusegrid {
namespace {

const std::string kNorm = "norm";

// [pixels, positions] of a side: how much each position counts at each pixel. A product with it, unlike LibTorch's
// interpolation, has a gradient of the same bits on every run of a GPU.
//   corners  whether the centres of the outermost positions are those of the outermost pixels, and not their edges
at::Tensor interpolation(int64_t pixels, int64_t positions, bool corners, const at::TensorOptions& options) {
  at::Tensor matrix = at::zeros({pixels, positions}, at::kFloat);
  auto* weights = matrix.mutable_data_ptr<float>();
  const double step =
      corners ? static_cast<double>(positions - 1) / std::max(1.0, static_cast<double>(pixels - 1))
              : static_cast<double>(positions) / static_cast<double>(pixels);
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const auto number = static_cast<double>(pixel);
    const double place = corners ? number * step : std::max(0.0, (number + 0.5) * step - 0.5);
    const auto low = std::min(static_cast<int64_t>(place), positions - 1);
    const auto high = std::min(low + 1, positions - 1);
    const auto of_high = static_cast<float>(place - static_cast<double>(low));
    weights[pixel * positions + low] += 1 - of_high;
    weights[pixel * positions + high] += of_high;
  }
  return matrix.to(options);
}

std::vector<int64_t> dilations_of(const Weights& decoder) {
  std::vector<std::string> names;
  for (const auto& [name, unused] : decoder) {
    names.push_back(name);
  }
  return deeplab_dilations(names);
}

// The kernels that read the features.
std::vector<std::string> first_kernels(const Weights& decoder) {
  const std::vector<int64_t> dilations = dilations_of(decoder);
  return dilations.empty() ? std::vector<std::string>{"conv.weight"} : deeplab_first_kernels(dilations);
}

class DenseReadout final : public Readout {
 public:
  DenseReadout(Weights decoder, const MapSizes& sizes) : decoder_(std::move(decoder)), sizes_(sizes) {}

  Pooling pooling() const override { return Pooling::kNone; }
  int64_t features() const override { return decoder_.at(first_kernels(decoder_).front()).size(1); }
  int64_t outputs() const override { return decoder_.at("weight").size(0); }
  at::Tensor operator()(const Weights&, const at::Tensor& features) const override {
    return decoded(decoder_, features, sizes_);
  }
  Weights weights() const override { return decoder_; }
  std::shared_ptr<const Readout> re_estimated(const std::vector<at::Tensor>& batches) const override;
  std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const override {
    Weights mapped = decoder_;
    for (const std::string& name : first_kernels(decoder_)) {
      at::Tensor& kernel = mapped.at(name);
      kernel = at::matmul(kernel.movedim(1, -1).to(map.scalar_type()), map)
                   .movedim(-1, 1)
                   .contiguous()
                   .to(kernel.scalar_type());
    }
    return dense_readout(std::move(mapped), sizes_);
  }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return dense_readout(to_device(decoder_, device), sizes_);
  }

 private:
  Weights decoder_;
  MapSizes sizes_;
};

std::shared_ptr<const Readout> DenseReadout::re_estimated(const std::vector<at::Tensor>& batches) const {
  FUSEGRID_ASSERT(!batches.empty(), "no features to make statistics of");
  const at::NoGradGuard no_grad;
  MeanStatistics collected;
  for (const at::Tensor& features : batches) {
    decoded(decoder_, features, sizes_, {.batch_statistics = collected.hook()});
  }
  Weights anew = decoder_;
  collected.write_to(anew);
  return dense_readout(std::move(anew), sizes_);
}

}  // namespace

std::vector<TensorInfo> decoder_parameters(int64_t features, int64_t hidden, int64_t outputs,
                                           int64_t kernel) {
  ParameterList all;
  all.add("conv.weight", {hidden, features, kernel, kernel});
  ChannelNorm(ChannelNormKind::kBatch, kNorm, hidden).add_to(all);
  all.add("weight", {outputs, hidden});
  all.add("bias", {outputs});
  return all.sorted();
}

MapSizes map_sizes(const Architecture& architecture) {
  return {architecture.map_size(), architecture.input().pixels()};
}

at::Tensor decoded(const Weights& decoder, const at::Tensor& features, const MapSizes& sizes,
                   const Pass& pass) {
  const at::ScalarType dtype = at::promote_types(features.scalar_type(), at::kFloat);
  Weights wide;
  for (const auto& [name, tensor] : decoder) {
    wide.emplace(name, tensor.to(dtype));
  }
  const auto& [positions, pixels] = sizes;
  FUSEGRID_ASSERT(features.dim() == 3 && features.size(1) == positions.height * positions.width,
                  "features [n, height * width, channels] of a map of " + to_string(positions));
  const at::Tensor map = features.to(dtype).transpose(1, 2).reshape(
      {features.size(0), features.size(2), positions.height, positions.width});
  const std::vector<int64_t> dilations = dilations_of(decoder);
  const bool deeplab = !dilations.empty();
  const at::Tensor hidden =
      deeplab ? deeplab_hidden(wide, dilations, map, pass) : convolved(wide, "conv", kNorm, map, pass);
  const at::Tensor answer = at::linear(hidden.movedim(1, -1), wide.at("weight"), wide.at("bias"));
  const at::Tensor down = interpolation(pixels.height, positions.height, deeplab, answer.options());
  const bool square = pixels.height == pixels.width && positions.height == positions.width;
  const at::Tensor across =
      square ? down : interpolation(pixels.width, positions.width, deeplab, answer.options());
  // [n, outputs, pixels, positions] and then [n, outputs, pixels, pixels]
  const at::Tensor rows = at::matmul(down, answer.permute({0, 3, 1, 2}));
  return at::matmul(rows, across.t()).permute({0, 2, 3, 1});
}

std::shared_ptr<const Readout> dense_readout(Weights decoder, const MapSizes& sizes) {
  return std::make_shared<DenseReadout>(std::move(decoder), sizes);
}

}  // namespace fusegrid
