#include "fusion/whole_model/statistics.h"

#include <map>
#include <set>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int64_t kForwardBatch = 256;

// Leaves that collect gradients, sharing memory with `weights`.
Weights leaves_of(const Weights& weights) {
  Weights leaves;
  for (const auto& [name, tensor] : weights) {
    leaves.emplace(name,
                   at::isFloatingType(tensor.scalar_type()) ? tensor.detach().requires_grad_(true) : tensor);
  }
  return leaves;
}

// total += scale * gradient^2, then forgets the gradients.
void add_squared_gradients(Weights& leaves, Weights& total) {
  for (auto& [name, sum] : total) {
    at::Tensor& gradient = leaves.at(name).mutable_grad();
    if (gradient.defined()) {
      sum.addcmul_(gradient, gradient);
      gradient.reset();
    }
  }
}

}  // namespace

Weights gram_matrices(const Network& network, const Weights& weights, const at::Tensor& images,
                      const std::function<void()>& tick) {
  const at::NoGradGuard no_grad;
  std::map<std::string, std::string>
      input_of;  // linear layer -> its input's key; only the first of q, k, v is kept
  std::set<std::string> seen;
  for (const LinearLayer& layer : network.architecture->linear_layers()) {
    if (seen.insert(layer.input).second) {
      input_of.emplace(layer.name, layer.input);
    }
  }
  Weights grams;
  std::map<std::string, int64_t> rows;
  const LinearHook observe = [&](const std::string& linear, const at::Tensor& x, const at::Tensor& weight,
                                 const at::Tensor& bias) {
    if (const auto key = input_of.find(linear); key != input_of.end()) {
      const at::Tensor flat = x.reshape({-1, x.size(-1)}).to(at::kDouble);
      const at::Tensor gram = at::matmul(flat.t(), flat);
      const auto [entry, first] = grams.try_emplace(key->second, gram);
      if (!first) {
        entry->second.add_(gram);
      }
      rows[key->second] += flat.size(0);
    }
    return at::linear(x, weight, bias);
  };
  for (int64_t begin = 0; begin < images.size(0); begin += kForwardBatch) {
    const int64_t count = std::min(kForwardBatch, images.size(0) - begin);
    network.architecture->features(weights, network.pixels(images.narrow(0, begin, count)), observe);
    tick();
  }
  for (auto& [key, gram] : grams) {
    gram.div_(static_cast<double>(rows.at(key)));
  }
  return grams;
}

Weights fisher_diagonal(const Network& network, const Weights& weights, const std::string& task,
                        const at::Tensor& images, int64_t batch, const std::string& variant,
                        const std::function<void()>& tick) {
  FUSEGRID_ASSERT(variant == "exact" || variant == "batch_squared", "variant " + variant);
  const at::AutoGradMode with_gradients(true);
  Weights leaves = leaves_of(weights);
  Weights total;
  for (const auto& [name, leaf] : leaves) {
    if (leaf.requires_grad()) {
      total.emplace(name, at::zeros_like(leaf.detach()));
    }
  }
  const bool exact = variant == "exact";
  const int64_t step = exact ? 1 : batch;
  for (int64_t begin = 0; begin < images.size(0); begin += step) {
    const at::Tensor pixels = network.pixels(images.narrow(0, begin, std::min(step, images.size(0) - begin)));
    const at::Tensor log_p =
        at::log_softmax(network.logits(network.architecture->features(leaves, pixels), task), 1);
    const at::Tensor weighted =
        at::sqrt(at::exp(log_p.detach())) * log_p;  // its squared gradient is p (d log p)^2
    if (exact) {
      for (int64_t c = 0; c < weighted.size(1); ++c) {
        weighted.select(1, c).sum().backward({}, /*retain_graph=*/c + 1 < weighted.size(1));
        add_squared_gradients(leaves, total);
      }
    } else {
      weighted.sum().backward();
      add_squared_gradients(leaves, total);
    }
    tick();
  }
  for (auto& [name, sum] : total) {
    sum.div_(static_cast<double>(images.size(0)));
  }
  return total;
}

}  // namespace fusegrid
