#include "fusion/whole_model/statistics.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_abs.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/errors.h"
#include "core/philox.h"
#include "models/feeder.h"

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

// total += |gradient|^power, power 1 or 2, then forgets the gradients. One call for all tensors: a GPU would wait for
// hundreds of launches.
void add_gradients(Weights& leaves, Weights& total, int64_t power) {
  std::vector<at::Tensor> sums;
  std::vector<at::Tensor> gradients;
  for (auto& [name, sum] : total) {
    at::Tensor& gradient = leaves.at(name).mutable_grad();
    if (gradient.defined()) {
      sums.push_back(sum);
      gradients.push_back(gradient);
      gradient.reset();
    }
  }
  if (sums.empty()) {
    return;
  }
  if (power == 2) {
    at::_foreach_addcmul_(sums, gradients, gradients);
  } else {
    at::_foreach_add_(sums, at::_foreach_abs(gradients));
  }
}

Weights zeros_for(const Weights& leaves) {
  Weights zeros;
  for (const auto& [name, leaf] : leaves) {
    if (leaf.requires_grad()) {
      zeros.emplace(name, at::zeros_like(leaf.detach()));
    }
  }
  return zeros;
}

void require_distribution(const TaskKind& kind, const std::string& task) {
  if (!kind.has_distribution()) {
    throw ConfigError("Fisher information needs outputs that are a distribution, which those of task '" +
                      task + "' are not; leave the method out, or the task");
  }
}

// The rows of x [n, tokens, width] or [n, width] that count: [rows, width].
at::Tensor chosen_rows(const at::Tensor& x, const at::Tensor& counting) {
  const at::Tensor flat = x.reshape({-1, x.size(-1)});
  return counting.defined() ? flat.index_select(0, at::nonzero(counting.reshape({-1})).squeeze(1)) : flat;
}

// Zeros for what no pass has shown: a question reads no head of pairs. size: of a side.
void add_unseen(Weights& sums, const std::string& key, int64_t size, const at::Tensor& like) {
  if (!sums.contains(key)) {
    sums.emplace(key, at::zeros({size, size}, like.options().dtype(at::kDouble).requires_grad(false)));
  }
}

// Its squared gradient is p (d log p)^2.
at::Tensor root_weighted(const at::Tensor& log_p) {
  return at::sqrt(at::exp(log_p.detach())) * log_p;
}

std::vector<at::Tensor> parts_by_class(const at::Tensor& log_p) {
  const at::Tensor weighted = root_weighted(log_p);
  std::vector<at::Tensor> parts;
  for (int64_t c = 0; c < weighted.size(1); ++c) {
    parts.push_back(weighted.select(1, c).sum());
  }
  return parts;
}

// sum_rows log p_c of classes c drawn from the rows.
at::Tensor drawn(const at::Tensor& log_p, uint64_t key, uint64_t stream) {
  const at::Tensor numbers = uniform(key, stream, 0, log_p.size(0)).to(log_p.device(), at::kDouble);
  const at::Tensor up_to = at::cumsum(at::exp(log_p.detach().to(at::kDouble)), 1);
  const at::Tensor below = numbers.unsqueeze(1) * up_to.narrow(1, log_p.size(1) - 1, 1);
  const at::Tensor classes = (up_to <= below).sum(1, true).clamp_max(log_p.size(1) - 1);
  return log_p.gather(1, classes).sum();
}

}  // namespace

GramSums::GramSums(const Architecture& architecture) {
  std::set<std::string> seen;
  for (const Layer& layer : architecture.layers()) {
    if (seen.insert(layer.input).second) {
      first_of_input_.insert(layer.name);
    }
  }
}

LayerHook GramSums::observing(const Inputs& inputs) {
  return [this, &inputs](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& bias) {
    if (first_of_input_.contains(layer.name)) {
      const at::Tensor flat = chosen_rows(x, counting_rows(layer, inputs, x)).to(at::kDouble);
      const at::Tensor gram = at::matmul(flat.t(), flat);
      const auto [entry, first] = sums_.try_emplace(layer.input, gram);
      if (!first) {
        entry->second.add_(gram);
      }
      rows_[layer.input] += flat.size(0);
    }
    return at::linear(x, weight, bias);
  };
}

Weights GramSums::means() const {
  Weights means;
  for (const auto& [key, sum] : sums_) {
    means.emplace(key, sum / static_cast<double>(rows_.at(key)));
  }
  return means;
}

Weights gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                      const TaskKind& kind, const Inputs& inputs, const std::function<void()>& tick) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(network.precision);
  const Weights held = rounded(weights, network.precision);
  GramSums sums(*network.architecture);
  const Asker output = asker_of(network, held, task);
  feed(network, inputs, kForwardBatch, [&](const Inputs& ready, const at::Tensor&) {
    const Inputs completed = kind.completed(ready, output);
    network.features(held, completed, {sums.observing(completed)});
    tick();
  });
  Weights means = sums.means();
  for (const Layer& layer : network.architecture->layers()) {
    const at::Tensor& weight = held.at(layer.weight);
    add_unseen(means, layer.input, weight.numel() / weight.size(0), weight);
  }
  return means;
}

Weights gradient_gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                               const TaskKind& kind, const Inputs& inputs,
                               const std::function<void()>& tick) {
  require_distribution(kind, task);
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(network.precision);
  const Weights leaves = leaves_of(weights);
  const uint64_t key = derive_key(0, "fisher/" + task);
  const Asker output = asker_of(network, leaves, task);
  Weights sums;
  feed(network, inputs, 1, [&](const Inputs& ready, const at::Tensor& places) {
    const Inputs completed = kind.completed(ready, output);
    std::vector<Layer> layers;
    std::vector<at::Tensor> outputs;
    const LayerHook keep = [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                               const at::Tensor& bias) {
      layers.push_back(layer);
      return outputs.emplace_back(at::linear(x, weight, bias));
    };
    const at::Tensor log_p =
        kind.log_probabilities(network.output(leaves, completed, task, {keep}), completed);
    const auto stream = static_cast<uint64_t>(places.const_data_ptr<int64_t>()[0]);
    const auto gradients =
        torch::autograd::grad({drawn(log_p, key, stream)}, outputs, {}, /*retain_graph=*/false,
                              /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < layers.size(); ++i) {
      const int64_t width = outputs[i].size(-1);
      at::Tensor& sum =
          sums.try_emplace(
                  layers[i].name,
                  at::zeros({width, width}, outputs[i].options().dtype(at::kDouble).requires_grad(false)))
              .first->second;
      if (gradients[i].defined()) {
        const at::Tensor rows =
            chosen_rows(gradients[i], counting_rows(layers[i], completed, outputs[i])).to(at::kDouble);
        sum.add_(at::matmul(rows.t(), rows));
      }
    }
    tick();
  });
  for (auto& [name, sum] : sums) {
    sum.div_(static_cast<double>(inputs.size()));
  }
  for (const Layer& layer : network.architecture->layers()) {
    add_unseen(sums, layer.name, leaves.at(layer.weight).size(0), leaves.at(layer.weight));
  }
  return sums;
}

Weights fisher_diagonal(const Network& network, const Weights& weights, const std::string& task,
                        const TaskKind& kind, const Inputs& inputs, int64_t batch, const std::string& variant,
                        const std::function<void()>& tick) {
  FUSEGRID_ASSERT(variant == "exact" || variant == "sampled" || variant == "batch_squared",
                  "variant " + variant);
  require_distribution(kind, task);
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(network.precision);
  Weights leaves = leaves_of(weights);
  Weights total = zeros_for(leaves);
  const uint64_t key = derive_key(0, "fisher/" + task);
  const Asker output = asker_of(network, leaves, task);
  feed(network, inputs, variant == "batch_squared" ? batch : 1,
       [&](const Inputs& ready, const at::Tensor& places) {
         const Inputs completed = kind.completed(ready, output);
         const at::Tensor log_p = kind.log_probabilities(output(completed, nullptr), completed);
         const auto stream = static_cast<uint64_t>(places.const_data_ptr<int64_t>()[0]);
         for (const at::Tensor& part : variant == "exact"     ? parts_by_class(log_p)
                                       : variant == "sampled" ? std::vector{drawn(log_p, key, stream)}
                                                              : std::vector{root_weighted(log_p).sum()}) {
           part.backward({}, /*retain_graph=*/true);
           add_gradients(leaves, total, 2);
         }
         tick();
       });
  for (auto& [name, sum] : total) {
    sum.div_(static_cast<double>(inputs.size()));
  }
  return total;
}

Weights loss_gradients(const Network& network, const Weights& weights, const std::string& task,
                       const TaskKind& kind, const Examples& examples, int64_t power,
                       const std::function<void()>& tick) {
  FUSEGRID_ASSERT(power == 1 || power == 2, "power " + std::to_string(power));
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(network.precision);
  Weights leaves = leaves_of(weights);
  Weights total = zeros_for(leaves);
  const Asker output = asker_of(network, leaves, task);
  feed(network, examples.inputs, 1, [&](const Inputs& ready, const at::Tensor& places) {
    const Examples one = examples.at(places, ready).to(network.device);
    kind.losses(output(kind.taught(one), nullptr), one).sum().backward();
    add_gradients(leaves, total, power);
    tick();
  });
  for (auto& [name, sum] : total) {
    sum.div_(static_cast<double>(examples.inputs.size()));
  }
  return total;
}

}  // namespace fusegrid
