#include "models/dense_readout.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "models/channel_norm.h"
#include "models/operators.h"

namespace fusegrid {
namespace {

const std::string kNorm = "norm";

// [side, positions]: how much each position counts at each pixel. A product with it, unlike LibTorch's interpolation,
// has a gradient of the same bits on every run of a GPU.
at::Tensor interpolation(int64_t side, int64_t positions, const at::TensorOptions& options) {
  at::Tensor matrix = at::zeros({side, positions}, at::kFloat);
  auto* weights = matrix.mutable_data_ptr<float>();
  const double step = static_cast<double>(positions) / static_cast<double>(side);
  for (int64_t pixel = 0; pixel < side; ++pixel) {
    const double place = std::max(0.0, (static_cast<double>(pixel) + 0.5) * step - 0.5);
    const auto low = std::min(static_cast<int64_t>(place), positions - 1);
    const auto high = std::min(low + 1, positions - 1);
    const auto of_high = static_cast<float>(place - static_cast<double>(low));
    weights[pixel * positions + low] += 1 - of_high;
    weights[pixel * positions + high] += of_high;
  }
  return matrix.to(options);
}

int64_t side_of_map(const at::Tensor& features) {
  const int64_t positions = features.size(1);
  const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(positions))));
  FUSEGRID_ASSERT(features.dim() == 3 && side * side == positions,
                  "features [n, height * width, channels] of a square map");
  return side;
}

class DenseReadout final : public Readout {
 public:
  DenseReadout(Weights decoder, int64_t side) : decoder_(std::move(decoder)), side_(side) {}

  Pooling pooling() const override { return Pooling::kNone; }
  int64_t features() const override { return decoder_.at("conv.weight").size(1); }
  int64_t outputs() const override { return decoder_.at("weight").size(0); }
  at::Tensor operator()(const Weights&, const at::Tensor& features) const override {
    return decoded(decoder_, features, side_);
  }
  Weights weights() const override { return decoder_; }
  std::shared_ptr<const Readout> re_estimated(const std::vector<at::Tensor>& batches) const override;
  std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const override {
    Weights mapped = decoder_;
    at::Tensor& kernel = mapped.at("conv.weight");
    kernel = at::matmul(kernel.movedim(1, -1).to(map.scalar_type()), map)
                 .movedim(-1, 1)
                 .contiguous()
                 .to(kernel.scalar_type());
    return dense_readout(std::move(mapped), side_);
  }
  std::shared_ptr<const Readout> to(at::Device device) const override {
    return dense_readout(to_device(decoder_, device), side_);
  }

 private:
  Weights decoder_;
  int64_t side_;
};

std::shared_ptr<const Readout> DenseReadout::re_estimated(const std::vector<at::Tensor>& batches) const {
  FUSEGRID_ASSERT(!batches.empty(), "no features to make statistics of");
  const at::NoGradGuard no_grad;
  MeanStatistics collected;
  for (const at::Tensor& features : batches) {
    decoded(decoder_, features, side_, {.batch_statistics = collected.hook()});
  }
  Weights anew = decoder_;
  collected.write_to(anew);
  return dense_readout(std::move(anew), side_);
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

at::Tensor decoded(const Weights& decoder, const at::Tensor& features, int64_t side, const Pass& pass) {
  const at::ScalarType dtype = at::promote_types(features.scalar_type(), at::kFloat);
  Weights wide;
  for (const auto& [name, tensor] : decoder) {
    wide.emplace(name, tensor.to(dtype));
  }
  const auto kernel = decoder.at("conv.weight").sizes();
  Layer convolution("conv");
  convolution.convolution = Convolution{.padding = kernel[2] / 2};
  const ChannelNorm norm(ChannelNormKind::kBatch, kNorm, kernel[0]);
  const int64_t positions = side_of_map(features);
  const at::Tensor map =
      features.to(dtype).transpose(1, 2).reshape({features.size(0), features.size(2), positions, positions});
  const at::Tensor hidden =
      activate(Activation::kRelu, norm(wide, apply(convolution, wide, map, pass), pass));
  const at::Tensor answer = at::linear(hidden.movedim(1, -1), wide.at("weight"), wide.at("bias"));
  const at::Tensor between = interpolation(side, positions, answer.options());
  const at::Tensor rows = at::matmul(between, answer.permute({0, 3, 1, 2}));  // [n, outputs, side, positions]
  return at::matmul(rows, between.t()).permute({0, 2, 3, 1});
}

std::shared_ptr<const Readout> dense_readout(Weights decoder, int64_t side) {
  return std::make_shared<DenseReadout>(std::move(decoder), side);
}

}  // namespace fusegrid
