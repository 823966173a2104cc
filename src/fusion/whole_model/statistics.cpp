#include "fusion/whole_model/statistics.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>

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

// total += gradient^2, then forgets the gradients. One call for all tensors: a GPU would wait for hundreds of launches.
void add_squared_gradients(Weights& leaves, Weights& total) {
  std::vector<at::Tensor> sums;
  std::vector<at::Tensor> gradients;
  for (auto& [name, sum] : total) {
    at::Tensor& gradient = leaves.at(name).mutable_grad();
    if (gradient.defined()) {
      sums.push_back(sum);
      gradients.push_back(std::move(gradient));
      gradient.reset();
    }
  }
  if (!sums.empty()) {
    at::_foreach_addcmul_(sums, gradients, gradients);
  }
}

// The rows of x [n, tokens, width] or [n, width] that count: [rows, width].
at::Tensor counting_rows(const at::Tensor& x, const at::Tensor& counting) {
  const at::Tensor flat = x.reshape({-1, x.size(-1)});
  return counting.defined() && x.dim() == 3
             ? flat.index_select(0, at::nonzero(counting.reshape({-1})).squeeze(1))
             : flat;
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

Weights gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                      const TaskKind& kind, const Inputs& inputs, const std::function<void()>& tick) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(network.precision);
  const Weights held = rounded(weights, network.precision);
  std::set<std::string> first_of_input;  // of the layers that read the same, only the first is looked at
  std::set<std::string> seen;
  for (const Layer& layer : network.architecture->layers()) {
    if (seen.insert(layer.input).second) {
      first_of_input.insert(layer.name);
    }
  }
  Weights grams;
  std::map<std::string, int64_t> rows;
  Inputs completed;
  const Pass observe{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        if (first_of_input.contains(layer.name)) {
          const at::Tensor flat = counting_rows(x, completed.counting(layer.rows)).to(at::kDouble);
          const at::Tensor gram = at::matmul(flat.t(), flat);
          const auto [entry, first] = grams.try_emplace(layer.input, gram);
          if (!first) {
            entry->second.add_(gram);
          }
          rows[layer.input] += flat.size(0);
        }
        return at::linear(x, weight, bias);
      }};
  const Asker output = asker_of(network, held, task);
  feed(network, inputs, kForwardBatch, [&](const Inputs& ready, const at::Tensor&) {
    completed = kind.completed(ready, output);
    network.features(held, completed, observe);
    tick();
  });
  for (auto& [key, gram] : grams) {
    gram.div_(static_cast<double>(rows.at(key)));
  }
  return grams;
}

Weights fisher_diagonal(const Network& network, const Weights& weights, const std::string& task,
                        const TaskKind& kind, const Inputs& inputs, int64_t batch, const std::string& variant,
                        const std::function<void()>& tick) {
  FUSEGRID_ASSERT(variant == "exact" || variant == "sampled" || variant == "batch_squared",
                  "variant " + variant);
  if (!kind.has_distribution()) {
    throw ConfigError("Fisher information needs outputs that are a distribution, which those of task '" +
                      task + "' are not; leave the method out, or the task");
  }
  const at::AutoGradMode with_gradients(true);
  const PrecisionScope scope(network.precision);
  Weights leaves = leaves_of(weights);
  Weights total;
  for (const auto& [name, leaf] : leaves) {
    if (leaf.requires_grad()) {
      total.emplace(name, at::zeros_like(leaf.detach()));
    }
  }
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
           add_squared_gradients(leaves, total);
         }
         tick();
       });
  for (auto& [name, sum] : total) {
    sum.div_(static_cast<double>(inputs.size()));
  }
  return total;
}

}  // namespace fusegrid
