// What families of models are made of. Only operators.cpp and channel_norm.cpp include LibTorch's headers of norms and
// attention, which take long to compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/weights.h"
#include "models/architecture.h"
#include "models/inputs.h"

namespace fusegrid {

// Layer norm over the last axis: weights[name + ".weight"], weights[name + ".bias"].
struct LayerNorm {
  LayerNorm(const std::string& norm, int64_t norm_width, double norm_epsilon)
      : weight(norm + ".weight"), bias(norm + ".bias"), width(norm_width), epsilon(norm_epsilon) {}
  at::Tensor operator()(const Weights& weights, const at::Tensor& x) const;

  std::string weight, bias;
  int64_t width;
  double epsilon;
};

// The same without a mean and a bias: x by the root of the mean of its squares, which is taken in float32 at least, and
// rounded before it is scaled.
struct RmsNorm {
  RmsNorm(const std::string& norm, int64_t norm_width, double norm_epsilon)
      : weight(norm + ".weight"), width(norm_width), epsilon(norm_epsilon) {}
  at::Tensor operator()(const Weights& weights, const at::Tensor& x) const;

  std::string weight;
  int64_t width;
  double epsilon;
};

// Layer norm over the last axis without weight and bias.
at::Tensor normed(const at::Tensor& x, double epsilon);

enum class Activation { kQuickGelu, kGelu, kGeluTanh, kRelu, kSilu };
at::Tensor activate(Activation activation, const at::Tensor& x);
// By HuggingFace's name of it (config field `hidden_act`): quick_gelu, gelu, gelu_new, gelu_pytorch_tanh, relu,
// silu.
Activation parse_activation(const std::string& name);
std::string to_string(Activation activation);

// Attention of heads: query [n, queries, width], key and value [n, keys, ...] -> [n, queries, width]. Key and value may
// have fewer heads of the same size, each of them for several of the query's. mask: broadcast to [n, heads, queries,
// keys]; bool, true where a query looks at a key, or in the dtype of the queries, what is added to the scores;
// undefined: every query looks at every key. scale: of the scores; without, 1 / sqrt(width of a head), which keeps
// their variance. Scores and their softmax are in float32 at least.
at::Tensor attention_of_heads(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                              int64_t heads, const at::Tensor& mask, std::optional<double> scale = {});

// [n, channels, height, width] cut into squares of the kernel's side, each mapped by it: [n, patches, width]. kernel:
// [width, channels, side, side].
at::Tensor patches_of(const at::Tensor& images, const at::Tensor& kernel);

// Images as a model with so many channels reads them: all three, or 1, their mean, for gray images. [n, 3, height,
// width] -> [n, channels, height, width].
at::Tensor channels_of(const at::Tensor& images, int64_t channels);

// The largest of each square of 2 x 2 positions: [n, channels, height / 2, width / 2]. A last odd row or column is
// left out.
at::Tensor halved_by_max(const at::Tensor& images);

// The largest of the 3 x 3 positions around every second one, from the first on: [n, channels, (height + 1) / 2,
// (width + 1) / 2].
at::Tensor halved_by_overlapping_max(const at::Tensor& images);

// What becomes of a map [n, channels, height, width]: without pooling its positions, [n, height width, channels]; with
// any their mean, [n, channels].
at::Tensor pooled_map(const at::Tensor& map, Pooling pooling);

// Rows of a table by index: [...] -> [..., width].
at::Tensor embedded(const at::Tensor& table, const at::Tensor& indices);

// Hidden states [n, tokens, width] pooled. lengths: int64 [n], tokens that count; undefined: all.
at::Tensor pooled(const at::Tensor& x, const at::Tensor& lengths, Pooling pooling);
// Of a model that makes one row of features for each example: every pooling gives that row. ConfigError for kNone,
// which asks for one for each token.
void check_one_row(Pooling pooling, const std::string& architecture);

// The names and shapes of an architecture's tensors while they are put together.
class ParameterList {
 public:
  void add(const std::string& name, const std::vector<int64_t>& shape);
  void add(const LayerNorm& norm);
  void add(const RmsNorm& norm);
  // weight: [out, ...]; the bias, where there is one, is [out].
  void add(const Layer& layer, const std::vector<int64_t>& weight, bool bias = true);
  std::vector<TensorInfo> sorted() const;

 private:
  std::vector<TensorInfo> infos_;
};

// The axis groups of a chain: layer i makes units[i] units (axis 0 of its weight and its bias, if it has one), which
// layer i + 1 alone reads (axis 1 of its weight); those of the last layer are the columns of the features.
std::vector<AxisGroup> chain_groups(const std::vector<Layer>& layers, const std::vector<int64_t>& units,
                                    bool biases = true);

}  // namespace fusegrid
