#include "models/network.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/promote_types.h>
#include <ATen/ops/tensor.h>

#include "core/errors.h"
#include "core/text.h"
#include "models/unit_rows.h"

namespace fusegrid {
namespace {

// Per channel, in units of stored pixel values: [1, 3, 1, 1]
at::Tensor per_channel(const std::vector<double>& values, at::Device device) {
  return (at::tensor(values, at::kDouble) * 255).to(at::kFloat).view({1, -1, 1, 1}).to(device);
}

}  // namespace

at::Tensor Network::pixels(const at::Tensor& images) const {
  const int64_t size = architecture->image_size();
  FUSEGRID_ASSERT(images.dim() == 4 && images.size(1) == 3 && images.scalar_type() == at::kByte,
                  "images must be uint8 [batch, 3, size, size]");
  if (images.size(2) != size || images.size(3) != size) {
    throw ConfigError("the model takes images of " + std::to_string(size) + " x " + std::to_string(size) +
                      " pixels, but the task's are " + std::to_string(images.size(2)) + " x " +
                      std::to_string(images.size(3)) + "; make a task pack of the model's size");
  }
  return (images.to(device).to(at::kFloat) - per_channel(normalisation.mean, device)) /
         per_channel(normalisation.std, device);
}

at::Tensor Network::embeddings(const at::Tensor& features) const {
  at::Tensor x = features.to(at::promote_types(features.scalar_type(), at::kFloat));
  if (projection.defined()) {
    x = at::linear(x, projection.to(x.scalar_type()));
  }
  return unit_rows(x);
}

at::Tensor Network::logits(const at::Tensor& features, const std::string& task) const {
  const Head& of_task = head(task);
  const at::Tensor x = embeddings(features);
  return of_task.scale * at::linear(x, of_task.rows.to(x.scalar_type()));
}

const Head& Network::head(const std::string& task) const {
  const auto it = heads.find(task);
  if (it == heads.end()) {
    std::vector<std::string> known;
    for (const auto& [name, unused] : heads) {
      known.push_back(name);
    }
    throw ConfigError("the zoo has no head for task '" + task + "'. Heads: " + join(known, ", "));
  }
  return it->second;
}

std::string digest(const Network& network) {
  Weights tensors{{"mean", at::tensor(network.normalisation.mean, at::kDouble)},
                  {"std", at::tensor(network.normalisation.std, at::kDouble)}};
  if (network.projection.defined()) {
    tensors.emplace("projection", network.projection);
  }
  for (const auto& [task, head] : network.heads) {
    tensors.emplace("head/" + task, head.rows);
    tensors.emplace("scale/" + task, at::tensor({head.scale}, at::kDouble));
  }
  return digest(tensors);
}

}  // namespace fusegrid
