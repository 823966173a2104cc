#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json_fwd.hpp>

#include "core/weights.h"

namespace fusegrid {

// A linear layer inside the blocks: y = x W^T + b with W = weights[name + ".weight"] of shape [out, in].
struct LinearLayer {
  std::string name;  // "vision_model.encoder.layers.0.self_attn.q_proj"
  std::string
      input;  // layers that read the same activations (q, k, v) share this key: one Gram serves them all
};

// Stands in for the linear layers during a forward pass: y = hook(name, x, weight, bias), x [..., in], y
// [..., out]. Methods observe inputs with it (Gram matrices) or change what a layer computes (routed low-rank
// experts).
using LinearHook = std::function<at::Tensor(const std::string& name, const at::Tensor& x,
                                            const at::Tensor& weight, const at::Tensor& bias)>;

// A frozen linear map without bias from features to the space of the heads (CLIP's visual projection). It is
// no parameter: it is never merged, trained or counted; a Network holds it.
struct Projection {
  TensorInfo info;        // [embedding size, feature_size()]
  bool required = false;  // else: applied where the checkpoint holds it
};

// An architecture: pure functions of (weights, batch), so that autograd can run through merged weights and no
// module has to be copied. Weights carry HuggingFace parameter names. Every function is const, without hidden
// state.
//
// A model is `embed`, then per block `attention` and `mlp`, then `pool`; methods that work block by block
// (RegMean++, WEMoE, Surgery) call the parts, all others call `features`.
class Architecture {
 public:
  virtual ~Architecture() = default;

  virtual std::string name() const = 0;    // "clip_vision_model"
  virtual int64_t image_size() const = 0;  // pixels of one side
  virtual int64_t num_blocks() const = 0;
  virtual int64_t num_tokens() const = 0;                  // of an image's hidden states
  virtual int64_t feature_size() const = 0;                // columns of features()
  virtual std::vector<TensorInfo> parameters() const = 0;  // names and shapes of all tensors, sorted by name
  virtual std::optional<Projection> projection() const = 0;
  virtual std::vector<LinearLayer> linear_layers() const = 0;  // of the blocks, in forward order
  virtual std::string block_prefix(int64_t block) const = 0;   // "vision_model.encoder.layers.3."
  virtual std::string mlp_prefix(int64_t block) const = 0;     // "vision_model.encoder.layers.3.mlp."

  // pixels: float [batch, 3, size, size], normalised; cast to the dtype of the weights, in which everything
  // else is computed. Returns hidden states [batch, tokens, width].
  virtual at::Tensor embed(const Weights& weights, const at::Tensor& pixels) const = 0;
  // x + attention(norm(x)) of one block.
  virtual at::Tensor attention(const Weights& weights, int64_t block, const at::Tensor& x,
                               const LinearHook& hook = {}) const = 0;
  // The normalised input of the block's MLP: what a router sees. [batch, tokens, width]
  virtual at::Tensor mlp_input(const Weights& weights, int64_t block, const at::Tensor& x) const = 0;
  // MLP applied to its normalised input, without the residual. Reads only tensors below mlp_prefix(block).
  virtual at::Tensor mlp(const Weights& weights, int64_t block, const at::Tensor& normed,
                         const LinearHook& hook = {}) const = 0;
  // Hidden states of the last block -> features [batch, feature_size()], not normalised.
  virtual at::Tensor pool(const Weights& weights, const at::Tensor& x) const = 0;

  at::Tensor block(const Weights& weights, int64_t index, const at::Tensor& x,
                   const LinearHook& hook = {}) const;
  at::Tensor features(const Weights& weights, const at::Tensor& pixels, const LinearHook& hook = {}) const;
};

// From a HuggingFace config.json (model_type clip_vision_model, or clip with its vision_config).
// Throws ConfigError naming the field where the configuration is not supported.
std::unique_ptr<Architecture> make_architecture(const nlohmann::json& config);

}  // namespace fusegrid
