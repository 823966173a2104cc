#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/architecture.h"
#include "models/inputs.h"
#include "models/precision.h"
#include "models/readout.h"

namespace fusegrid {

// How stored images become what an architecture reads: (image / 255 - mean) / std per channel.
struct ImageNormalisation {
  std::vector<double> mean{0.5, 0.5, 0.5};
  std::vector<double> std{0.5, 0.5, 0.5};
};

// An architecture with everything that stays frozen around the merged weights.
struct Network {
  std::shared_ptr<const Architecture> architecture;
  std::map<std::string, std::shared_ptr<const Readout>> readouts;  // by head; a task's head has its name
  ImageNormalisation normalisation;
  at::Device device = at::kCPU;
  Precision precision = Precision::kFp32;  // of passes; PrecisionScope is the caller's

  // As the architecture reads them, on `device`. ConfigError where they are not what it reads: images of another size,
  // ids beyond the vocabulary, longer rows than it has positions for.
  Inputs ready(const Inputs& inputs) const;
  // The pooling that all readouts ask for, so that the features of examples of several tasks can be made in one pass;
  // but for those of tokens beside others, which read an answer.
  Pooling pooling() const;
  // That of these inputs: rows of an answer are not pooled.
  Pooling pooling(const Inputs& inputs) const;
  // [n, feature_size]; inputs: ready ones; weights: rounded first, where the precision asks for it and they are not.
  at::Tensor features(const Weights& weights, const Inputs& inputs, const Pass& pass = {}) const;
  const Readout& readout(const std::string& head) const;  // ConfigError where the zoo has none
  // model: the weights that made the features.
  at::Tensor read(const Weights& model, const at::Tensor& features, const std::string& head) const;
  at::Tensor output(const Weights& weights, const Inputs& inputs, const std::string& head,
                    const Pass& pass = {}) const;
};

// Hexadecimal SHA-256 over all of it but the architecture and the device.
std::string digest(const Network& network);

}  // namespace fusegrid
