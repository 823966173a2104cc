#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "core/registry.h"
#include "core/weights.h"
#include "models/inputs.h"

namespace fusegrid {

// How a kernel moves over positions: by so many of them, over so many zeros around the image, and with so many
// positions from one of its entries to the next.
struct Convolution {
  int64_t stride = 1, padding = 0, dilation = 1;
};

// An affine layer, y = x W^T + b with W = weights[weight] of shape [out, in]; or the same at each position of an image,
// where W is a kernel [out, in, side, side] and x what lies under it.
struct Layer {
  Layer(std::string layer, std::string reads) : name(std::move(layer)), input(std::move(reads)) {}
  explicit Layer(const std::string& layer) : Layer(layer, layer) {}

  std::string name;   // "vision_model.encoder.layers.0.self_attn.q_proj"
  std::string input;  // layers that read the same activations (q, k, v) share this key: one Gram
  std::string weight = name + ".weight";
  std::string bias = name + ".bias";  // a model may have none of that name
  Rows rows = Rows::kInput;           // which rows its input has
  std::optional<Convolution> convolution = {};
};

// Stands in for the affine layers during a forward pass: x [..., in] -> [..., out]; bias is undefined where the layer
// has none. Methods observe inputs with it (Gram matrices) or change what a layer computes (routed low-rank experts).
// That of a convolution sees what lies under the kernel at each position, x [n, positions, in side side], and the
// kernel as a matrix [out, in side side].
using LayerHook = std::function<at::Tensor(const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                                           const at::Tensor& bias)>;

// What a model keeps of its answers while it decodes, so that a pass computes only the tokens that are new. Answers
// grow by one token a pass; the inputs stay what they are.
class Memory {
 public:
  // That of one of several models that answer together; empty when it is first asked for.
  Memory& part(size_t index);
  // What it holds under the name and behind that the rows [n, rows, ...], which it holds from then on.
  at::Tensor append(const std::string& name, const at::Tensor& rows);
  // It and its parts, from then on of these rows: what goes on from one answer in several ways. rows: int64 [m].
  void select(const at::Tensor& rows);

  int64_t tokens = 0;  // rows of the answer that it holds
  Weights tensors;     // keys and values, under names of the family; [n, ...]

 private:
  std::vector<std::unique_ptr<Memory>> parts_;
};

// Sees the activations of an axis group, wherever a pass makes some: [n, ..., size * unit], channels last.
using ActivationHook = std::function<void(const std::string& group, const at::Tensor& x)>;

// Is told the mean and the unbiased variance, [channels], of what a batch norm reads. norm: the name of its module.
using BatchStatisticsHook =
    std::function<void(const std::string& norm, const at::Tensor& mean, const at::Tensor& variance)>;

// How one forward pass is to be made.
struct Pass {
  LayerHook layer = {};
  // Then features of an answer are those of the rows that it did not hold yet. An architecture without a memory
  // ignores it, and computes all rows again.
  Memory* memory = nullptr;
  ActivationHook seen = {};
  // Where it is given, batch norms use the statistics of the batch and tell them; else they use their running ones.
  BatchStatisticsHook batch_statistics = {};
};

// Shows the hook of the pass, if it has one, activations of a group: [n, channels, height, width], or channels last
// where there are fewer dimensions.
void show(const Pass& pass, const std::string& group, const at::Tensor& x);

// y of one layer: the hook's, where there is one. x: [..., in]; of a convolution [n, in, height, width] -> [n, out,
// ...].
at::Tensor apply(const Layer& layer, const Weights& weights, const at::Tensor& x, const Pass& pass);

// Which rows of x [n, rows, in] count, what the layer reads in a pass of these inputs: bool [n, rows]; undefined where
// all do, also where x is [n, in].
at::Tensor counting_rows(const Layer& layer, const Inputs& inputs, const at::Tensor& x);

// What becomes of the hidden states [n, tokens, width] of the last block.
enum class Pooling {
  kNone,   // nothing: features are [n, tokens, width]
  kFirst,  // the first token: [n, width]
  kLast,   // the last one that counts
  kMean,   // the mean over those that count
};
std::string to_string(Pooling pooling);

// Of an image or a map.
struct PixelSize {
  int64_t height = 0, width = 0;
  bool operator==(const PixelSize&) const = default;
};
std::string to_string(const PixelSize& size);  // "288 x 384"

// What an architecture reads.
struct InputFormat {
  int64_t image_size = 0;    // pixels of the height of an image with three channels; 0: it reads no images
  int64_t image_width = 0;   // those of its width; 0: images are square
  int64_t vocabulary = 0;    // token ids are less than it; 0: it reads no tokens
  int64_t positions = 0;     // tokens of the longest row
  bool with_answer = false;  // of a decoder: an answer takes positions too, right behind its input
  bool together = false;     // reads an image with tokens as one input, and not as pairs alone
  std::optional<int64_t> answer_start = {};  // the token that an encoder-decoder's answer begins with
  int64_t state_size =
      0;  // pixels of one side of a state; 0: it reads none. Its features are then the velocity
  int64_t state_channels = 0;  // the same for its channels
  int64_t conditions = 0;      // ids of what is asked for are less than it

  PixelSize pixels() const { return {image_size, image_width > 0 ? image_width : image_size}; }
};

// The logits that a model makes itself, of tokens or of classes: scale * features W^T + b, W = weights[weight] of shape
// [outputs, feature_size()] and b = weights[bias].
struct OwnHead {
  std::string weight;
  double scale = 1;
  std::string bias = {};             // "": none
  Pooling pooling = Pooling::kNone;  // of the features; kNone: of tokens
  bool of_tokens() const { return pooling == Pooling::kNone; }
};

// A frozen linear map without bias from features to the space of the readouts (CLIP's visual projection). It is no
// parameter: it is never merged, trained or counted.
struct Projection {
  TensorInfo info;        // [embedding size, feature_size()]
  bool required = false;  // else: applied where the checkpoint holds it
};

// Axes of tensors that are permuted alike without changing the function (Git Re-Basin's permutation specification).
struct AxisGroup {
  struct Axis {
    std::string tensor;
    int64_t axis = 0;
    bool makes = false;  // the tensor's output lies along it; else the tensor reads it
  };
  std::string name;
  int64_t size = 0;  // of each of the axes, in units
  int64_t unit = 1;  // entries that stay together, for example those of an attention head
  std::vector<Axis> axes = {};
  bool features = false;  // the columns of features() lie along it too: readouts read it
};

class Blocks;

// An architecture: a pure function of (weights, inputs), so that autograd can run through merged weights and no module
// has to be copied; all else about it is data. Weights carry HuggingFace parameter names. Every function is const,
// without hidden state.
class Architecture {
 public:
  virtual ~Architecture() = default;

  virtual std::string name() const = 0;  // "clip_vision_model"
  virtual InputFormat input() const = 0;
  virtual int64_t feature_size() const = 0;          // columns of features()
  virtual int64_t num_tokens() const = 0;            // rows of an example's hidden states, at most
  virtual PixelSize map_size() const { return {}; }  // of a map that these rows are; 0 x 0: they are none
  virtual std::vector<TensorInfo> parameters() const = 0;  // names and shapes of all tensors, sorted by name
  virtual std::vector<Layer> layers() const = 0;  // whose inputs RegMean and SMILE see, in forward order
  // Under which names checkpoints hold a parameter: the first that is there, its own at the front. Files of a model
  // with a head on this one put a prefix before it.
  virtual std::vector<std::string> names_in_files(const std::string& parameter) const { return {parameter}; }
  // Whether they hold the matrix as [in, out]. See models/stored_parameters.h.
  virtual bool transposed_in_files(const std::string& /*parameter*/) const { return false; }
  // Adds to a checkpoint what HuggingFace's class of the family always reads and this architecture does without, such
  // that both compute the same. stored: as files hold it, with all parameters.
  virtual void complete(nlohmann::json& /*config*/, Weights& /*stored*/) const {}
  virtual std::vector<AxisGroup> axis_groups() const { return {}; }
  virtual const Blocks* blocks() const { return nullptr; }  // where it is a stack of them
  virtual std::optional<Projection> projection() const { return std::nullopt; }
  virtual std::optional<OwnHead> own_head() const { return std::nullopt; }

  // inputs: as Network::ready() makes them; cast to the dtype of the weights, in which everything else is computed.
  // Returns [n, feature_size()], or [n, tokens, feature_size()] without pooling. ConfigError where the architecture has
  // no such pooling. Where inputs have an answer (and then without pooling), [n, answer width + 1, feature_size()]: row
  // j is what the answer's token j is predicted from. Of pairs, [n, 2, feature_size()]: the image's row and the text's.
  virtual at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                              const Pass& pass = {}) const = 0;
};

// A stack of transformer blocks in parts, for methods that work block by block (WEMoE). Hidden states: [n, tokens,
// width].
class Blocks {
 public:
  virtual ~Blocks() = default;

  virtual int64_t size() const = 0;
  virtual int64_t width() const = 0;
  virtual bool causal() const { return false; }                    // whether a token sees none behind it
  virtual std::vector<Layer> mlp_layers(int64_t block) const = 0;  // whose tensors are all that mlp() reads

  virtual at::Tensor embed(const Weights& weights, const Inputs& inputs) const = 0;
  // Which positions are looked at, as attention() takes it; undefined: all.
  virtual at::Tensor mask(const Inputs& inputs) const = 0;
  // x with the block's attention added, and normed where the block norms sums.
  virtual at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x,
                               const at::Tensor& mask, const Pass& pass) const = 0;
  // The input of the block's MLP: what a router sees.
  virtual at::Tensor mlp_input(const Weights& weights, int64_t block, const at::Tensor& x) const = 0;
  virtual at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& input,
                         const Pass& pass) const = 0;
  // x with the MLP's output y added, and normed where the block norms sums.
  virtual at::Tensor add_mlp(const Weights& weights, int64_t block, const at::Tensor& x,
                             const at::Tensor& y) const = 0;
  // Hidden states of the last block -> features.
  virtual at::Tensor finish(const Weights& weights, const at::Tensor& x, const Inputs& inputs,
                            Pooling pooling) const = 0;
};

// An architecture that is nothing but its blocks.
class BlockArchitecture : public Architecture, public Blocks {
 public:
  const Blocks* blocks() const override { return this; }
  at::Tensor features(const Weights& weights, const Inputs& inputs, Pooling pooling,
                      const Pass& pass = {}) const override;

 protected:
  // The axis group of the blocks' inputs and outputs; "" where axis_groups() has none.
  virtual std::string residual_stream() const { return ""; }
  // Embedded rows -> hidden states of the last block.
  at::Tensor through_blocks(const Weights& weights, at::Tensor x, const at::Tensor& mask,
                            const Pass& pass) const;
};

// A family of models: how a config.json becomes an architecture. One file of models/families each.
struct ArchitectureFamily {
  // Both throw ConfigError naming the field where the configuration is not supported.
  std::unique_ptr<Architecture> (*make)(const nlohmann::json& config) = nullptr;
  // Every value that the forward pass depends on, those that are left out at their defaults: two configurations with
  // the same settings make the same function of the same weights.
  nlohmann::json (*settings)(const nlohmann::json& config) = nullptr;
};
Registry<ArchitectureFamily>& architecture_registry();  // by model_type

// From a HuggingFace config.json, by its model_type.
std::unique_ptr<Architecture> make_architecture(const nlohmann::json& config);
nlohmann::json architecture_settings(const nlohmann::json& config);

}  // namespace fusegrid
