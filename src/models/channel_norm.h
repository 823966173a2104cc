// Norms of convolutional networks, which keep each channel's scale and shift.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/weights.h"
#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/operators.h"

namespace fusegrid {

// By their names in configurations.
enum class ChannelNormKind {
  kNone,   // "none"
  kBatch,  // "batch": over examples and positions
  kLayer,  // "layer": over the channels and positions of an example (a group norm of one group)
};
// Config field `norm`, one of `known`.
ChannelNormKind read_norm(const ConfigReader& reader, const std::string& otherwise,
                          const std::vector<std::string>& known);
std::string to_string(ChannelNormKind kind);

// Tensors of a batch norm, by its name.
std::string running_mean_of(const std::string& norm);
std::string running_variance_of(const std::string& norm);

// A pass whose batch norms use the batch's own statistics, which nobody keeps.
Pass with_own_statistics();

// The mean over batches of what batch norms read, in float64 in the order of the batches.
class MeanStatistics {
 public:
  // For the passes, one for each batch. It refers to this object.
  BatchStatisticsHook hook();
  // In place of the running statistics of each norm that was seen.
  void write_to(Weights& weights) const;

 private:
  struct Sum {
    at::Tensor mean, variance;
    int64_t batches = 0;
  };
  std::map<std::string, Sum> sums_;  // by norm
};

// x [n, channels, ...] with mean 0 and variance 1, then scaled and shifted by channel: weights[name + ".weight"] and
// ".bias". Of a batch norm the mean and variance are the running statistics, ".running_mean" and ".running_var", or
// where Pass::batch_statistics is set, those of x. Batch norm is computed in float32 at least.
struct ChannelNorm {
  ChannelNorm(ChannelNormKind norm_kind, const std::string& norm, int64_t norm_width,
              double norm_epsilon = 1e-5);
  // ConfigError where the statistics of x are asked for and it has one value of each channel.
  at::Tensor operator()(const Weights& weights, const at::Tensor& x, const Pass& pass) const;
  // All of shape [width]: none without a norm.
  std::vector<std::string> tensors() const;
  void add_to(ParameterList& parameters) const;
  // They lie along the channels that `group` permutes.
  void add_to(AxisGroup& group) const;

  ChannelNormKind kind;
  std::string name, weight, bias, running_mean, running_variance;
  int64_t width;
  double epsilon;
};

// relu(norm(kernel * x)): a convolution without bias, `name` + ".weight", and its batch norm. x: [n, channels, height,
// width] in the dtype of the weights, of which the result has the height and width.
at::Tensor convolved(const Weights& weights, const std::string& name, const std::string& norm,
                     const at::Tensor& x, const Pass& pass, int64_t dilation = 1);

}  // namespace fusegrid
