#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/architecture.h"

namespace fusegrid {

// The frozen head of a task: logits = scale * normalise(features) * rows^T.
struct Head {
  at::Tensor rows;   // float [classes, embedding size], unit rows ("text embeddings")
  double scale = 1;  // exp(logit_scale)
};

// How stored images become the architecture's pixels: (image / 255 - mean) / std per channel.
struct ImageNormalisation {
  std::vector<double> mean{0.5, 0.5, 0.5};
  std::vector<double> std{0.5, 0.5, 0.5};
};

// An architecture with everything that stays frozen around the merged weights.
struct Network {
  std::shared_ptr<const Architecture> architecture;
  std::map<std::string, Head> heads;  // by task
  at::Tensor projection;  // [embedding size, feature_size()] or undefined: see Architecture::projection()
  ImageNormalisation normalisation;
  at::Device device = at::kCPU;

  // uint8 [batch, 3, size, size] (any device) -> float pixels on `device`. ConfigError where the size is not
  // the architecture's.
  at::Tensor pixels(const at::Tensor& images) const;
  // [batch, feature_size] -> what heads compare with their rows: projected (where there is a projection) and
  // of unit length. Computed in float32 at least. [batch, embedding size]
  at::Tensor embeddings(const at::Tensor& features) const;
  // [batch, feature_size] -> [batch, classes]
  at::Tensor logits(const at::Tensor& features, const std::string& task) const;
  const Head& head(const std::string& task) const;  // ConfigError where the zoo has none
};

// Hexadecimal SHA-256 over all of it but the architecture and the device.
std::string digest(const Network& network);

}  // namespace fusegrid
