#include "models/channel_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/native_batch_norm.h>
#include <ATen/ops/promote_types.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

// From what LibTorch keeps of a norm: the reciprocal of the root of the biased variance and epsilon.
at::Tensor unbiased_variance(const at::Tensor& reciprocal, double epsilon, int64_t values) {
  const at::Tensor biased = (reciprocal.square().reciprocal() - epsilon).clamp_min(0);
  return biased * (static_cast<double>(values) / static_cast<double>(values - 1));
}

at::Tensor normed_by_batch(const ChannelNorm& norm, const at::Tensor& x, const at::Tensor& scale,
                           const at::Tensor& shift, const Pass& pass) {
  const int64_t values = x.numel() / norm.width;
  if (values < 2) {
    throw ConfigError("batch norm " + norm.name +
                      " needs two values of each channel for a variance, but a batch has one example of one "
                      "position; use larger batches or images");
  }
  const auto [y, mean, reciprocal] =
      at::native_batch_norm(x, scale, shift, {}, {}, /*training=*/true, /*momentum=*/0, norm.epsilon);
  pass.batch_statistics(norm.name, mean, unbiased_variance(reciprocal, norm.epsilon, values));
  return y;
}

at::Tensor batch_normed(const ChannelNorm& norm, const Weights& weights, const at::Tensor& given,
                        const Pass& pass) {
  const at::ScalarType dtype = at::promote_types(given.scalar_type(), at::kFloat);
  const at::Tensor x = given.to(dtype);
  const auto wide = [&](const std::string& name) { return weights.at(name).to(dtype); };
  const at::Tensor scale = wide(norm.weight);
  const at::Tensor shift = wide(norm.bias);
  if (pass.batch_statistics) {
    return normed_by_batch(norm, x, scale, shift, pass).to(given.scalar_type());
  }
  // No gradients flow into what no step of a training changes.
  const at::Tensor mean = wide(norm.running_mean).detach();
  const at::Tensor variance = wide(norm.running_variance).detach();
  return at::batch_norm(x, scale, shift, mean, variance, /*training=*/false, /*momentum=*/0, norm.epsilon,
                        /*cudnn_enabled=*/false)
      .to(given.scalar_type());
}

}  // namespace

ChannelNormKind read_norm(const ConfigReader& reader, const std::string& otherwise,
                          const std::vector<std::string>& known) {
  const std::string name = reader.one_of("norm", otherwise, known);
  for (const auto kind : {ChannelNormKind::kNone, ChannelNormKind::kBatch, ChannelNormKind::kLayer}) {
    if (to_string(kind) == name) {
      return kind;
    }
  }
  FUSEGRID_ASSERT(false, "norm " + name);
}

std::string to_string(ChannelNormKind kind) {
  switch (kind) {
    case ChannelNormKind::kNone:
      return "none";
    case ChannelNormKind::kBatch:
      return "batch";
    case ChannelNormKind::kLayer:
      return "layer";
  }
  FUSEGRID_ASSERT(false, "unknown norm");
}

std::string running_mean_of(const std::string& norm) {
  return norm + ".running_mean";
}

std::string running_variance_of(const std::string& norm) {
  return norm + ".running_var";
}

Pass with_own_statistics() {
  return {.batch_statistics = [](const std::string&, const at::Tensor&, const at::Tensor&) {}};
}

BatchStatisticsHook MeanStatistics::hook() {
  return [this](const std::string& norm, const at::Tensor& mean, const at::Tensor& variance) {
    Sum& sum = sums_[norm];
    const at::Tensor of_mean = mean.to(at::kDouble), of_variance = variance.to(at::kDouble);
    sum.mean = sum.batches == 0 ? of_mean : sum.mean + of_mean;
    sum.variance = sum.batches == 0 ? of_variance : sum.variance + of_variance;
    ++sum.batches;
  };
}

void MeanStatistics::write_to(Weights& weights) const {
  for (const auto& [norm, sum] : sums_) {
    const auto batches = static_cast<double>(sum.batches);
    at::Tensor& mean = weights.at(running_mean_of(norm));
    at::Tensor& variance = weights.at(running_variance_of(norm));
    mean = (sum.mean / batches).to(mean.scalar_type());
    variance = (sum.variance / batches).to(variance.scalar_type());
  }
}

ChannelNorm::ChannelNorm(ChannelNormKind norm_kind, const std::string& norm, int64_t norm_width,
                         double norm_epsilon)
    : kind(norm_kind),
      name(norm),
      weight(norm + ".weight"),
      bias(norm + ".bias"),
      running_mean(running_mean_of(norm)),
      running_variance(running_variance_of(norm)),
      width(norm_width),
      epsilon(norm_epsilon) {}

at::Tensor ChannelNorm::operator()(const Weights& weights, const at::Tensor& x, const Pass& pass) const {
  switch (kind) {
    case ChannelNormKind::kNone:
      return x;
    case ChannelNormKind::kBatch:
      return batch_normed(*this, weights, x, pass);
    case ChannelNormKind::kLayer:
      return at::group_norm(x, 1, weights.at(weight), weights.at(bias), epsilon);
  }
  FUSEGRID_ASSERT(false, "unknown norm");
}

std::vector<std::string> ChannelNorm::tensors() const {
  switch (kind) {
    case ChannelNormKind::kNone:
      return {};
    case ChannelNormKind::kBatch:
      return {weight, bias, running_mean, running_variance};
    case ChannelNormKind::kLayer:
      return {weight, bias};
  }
  FUSEGRID_ASSERT(false, "unknown norm");
}

void ChannelNorm::add_to(ParameterList& parameters) const {
  for (const std::string& tensor : tensors()) {
    parameters.add(tensor, {width});
  }
}

void ChannelNorm::add_to(AxisGroup& group) const {
  for (const std::string& tensor : tensors()) {
    group.axes.push_back({tensor, 0, true});
  }
}

at::Tensor convolved(const Weights& weights, const std::string& name, const std::string& norm,
                     const at::Tensor& x, const Pass& pass, int64_t dilation) {
  Layer convolution(name);
  const auto kernel = weights.at(convolution.weight).sizes();
  convolution.convolution = Convolution{.padding = dilation * (kernel[2] / 2), .dilation = dilation};
  const ChannelNorm normed(ChannelNormKind::kBatch, norm, kernel[0]);
  return activate(Activation::kRelu, normed(weights, apply(convolution, weights, x, pass), pass));
}

}  // namespace fusegrid
