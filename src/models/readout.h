#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/weights.h"
#include "models/architecture.h"

namespace fusegrid {

// From features to what a task's kind understands: logits of classes, a number. It surrounds the merged weights and is
// no part of them. Computed in float32 at least.
class Readout {
 public:
  virtual ~Readout() = default;
  virtual Pooling pooling() const = 0;   // of the features that it reads
  virtual int64_t features() const = 0;  // columns that it reads
  virtual int64_t outputs() const = 0;   // classes, or numbers of an answer
  // model: the weights that made the features, for readouts that use tensors of theirs; features: [..., features()] ->
  // [..., outputs()], float32 or wider.
  virtual at::Tensor operator()(const Weights& model, const at::Tensor& features) const = 0;
  virtual bool is_affine() const { return false; }  // features times the transpose of "weight", and "bias"
  virtual Weights weights() const = 0;              // its own tensors: what decides it besides the model
  // The same with running statistics that are the mean over batches of those of these features; null where it has no
  // running statistics. batches: features that it reads, one tensor a batch; one or more.
  virtual std::shared_ptr<const Readout> re_estimated(const std::vector<at::Tensor>& /*batches*/) const {
    return nullptr;
  }
  virtual std::shared_ptr<const Readout> to(at::Device device) const = 0;
  // What reads features z as this one reads `map` z, for models whose features were permuted or merged; asked of
  // readouts with weights of their own. map: float [features(), new features], on their device. ConfigError where its
  // kind cannot.
  virtual std::shared_ptr<const Readout> of_mapped_features(const at::Tensor& map) const;
};

// scale * unit(projected features) rows^T: a frozen head of CLIP, of the first token.
//   rows        float [classes, embedding size], of unit length ("text embeddings")
//   scale       exp(logit_scale)
//   projection  [embedding size, feature size], or undefined: features are compared as they are
std::shared_ptr<const Readout> cosine_readout(at::Tensor rows, double scale, at::Tensor projection = {});

// features weight^T + bias. weight: float [outputs, feature size]; bias: float [outputs].
std::shared_ptr<const Readout> affine_readout(at::Tensor weight, at::Tensor bias, Pooling pooling);

// The model's own: logits from tensors of the model, so it has no weights. [..., features] -> [..., outputs].
std::shared_ptr<const Readout> own_readout(const OwnHead& head, int64_t features, int64_t outputs);

// The features themselves, [..., features] without pooling: what a flow answers.
std::shared_ptr<const Readout> features_readout(int64_t features);

}  // namespace fusegrid
