#include "fusion/alignment/activations.h"

#include <algorithm>
#include <set>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/text.h"
#include "models/feeder.h"

namespace fusegrid {
namespace {

constexpr int64_t kBatch = 250;
// A variance below this part of the mean square is rounding of a unit that does not vary.
constexpr double kConstant = 1e-12;

// Of one node, all experts' entries side by side.
struct NodeMoments {
  int64_t rows = 0;
  at::Tensor sum;       // float64 [entries]
  at::Tensor products;  // float64 [entries, entries]

  void add(const at::Tensor& x) {  // [rows, entries]
    const at::Tensor wide = x.to(at::kDouble);
    const at::Tensor squares = at::matmul(wide.t(), wide);
    sum = rows == 0 ? wide.sum(0) : sum + wide.sum(0);
    products = rows == 0 ? squares : products.add_(squares);
    rows += wide.size(0);
  }
  at::Tensor mean_products() const { return products / static_cast<double>(rows); }
  at::Tensor correlations() const {
    const at::Tensor mean = sum / static_cast<double>(rows);
    const at::Tensor squares = mean_products();
    const at::Tensor covariance = squares - at::outer(mean, mean);
    const at::Tensor variance = covariance.diagonal();
    const at::Tensor varies = variance > squares.diagonal() * kConstant;
    const at::Tensor scale = at::where(varies, variance.clamp_min(0).rsqrt(), at::zeros_like(variance));
    return (covariance * at::outer(scale, scale)).clamp(-1, 1);
  }
  at::Tensor distances() const {
    const at::Tensor squares = mean_products();
    const at::Tensor own = squares.diagonal();
    return (own.unsqueeze(0) + own.unsqueeze(1) - 2 * squares).clamp_min(0);
  }
};

using Nodes = std::map<std::string, std::vector<at::Tensor>>;  // by group, in the order of the pass

// The rows of an activation [n, ..., entries] that count.
at::Tensor counting_rows(const at::Tensor& x, const Inputs& inputs) {
  const at::Tensor flat = x.reshape({-1, x.size(-1)});
  const at::Tensor counting = x.dim() == 3 ? inputs.counting() : at::Tensor();
  return counting.defined() ? flat.index_select(0, at::nonzero(counting.reshape({-1})).squeeze(1)) : flat;
}

Nodes nodes_of(const Network& network, const Weights& weights, const Inputs& ready) {
  Nodes nodes;
  Pass pass;
  pass.seen = [&](const std::string& group, const at::Tensor& x) {
    nodes[group].push_back(counting_rows(x, ready));
  };
  network.features(weights, ready, pass);
  return nodes;
}

std::map<std::string, std::vector<NodeMoments>> moments(const FusionInput& in, int64_t examples) {
  const std::vector<std::string> tasks = in.tasks();
  if (tasks.empty()) {
    throw ConfigError(
        "activations can only be compared on training inputs, but the experts own no task; use a method that "
        "compares "
        "weights");
  }
  const Network& network = in.network();
  std::vector<Weights> held;
  for (const Weights& expert : in.experts()) {
    held.push_back(rounded(expert, network.precision));
  }
  const int64_t share = std::max<int64_t>(1, examples / static_cast<int64_t>(tasks.size()));
  std::map<std::string, std::vector<NodeMoments>> sums;
  for (const std::string& task : tasks) {
    feed(network, in.train_inputs(task, share), kBatch, [&](const Inputs& ready, const at::Tensor&) {
      std::map<std::string, std::vector<std::vector<at::Tensor>>> side_by_side;  // by group and node
      for (const Weights& expert : held) {
        for (auto& [group, nodes] : nodes_of(network, expert, ready)) {
          auto& columns = side_by_side[group];
          columns.resize(nodes.size());
          for (size_t node = 0; node < nodes.size(); ++node) {
            columns[node].push_back(nodes[node]);
          }
        }
      }
      for (const auto& [group, nodes] : side_by_side) {
        sums[group].resize(nodes.size());
        for (size_t node = 0; node < nodes.size(); ++node) {
          sums[group][node].add(concatenate(nodes[node], 1));
        }
      }
      in.tick();
    });
  }
  return sums;
}

// [experts * entries, experts * entries] -> [experts * units, experts * units].
at::Tensor of_units(const at::Tensor& of_entries, const AxisGroup& group) {
  const int64_t units = of_entries.size(0) / group.unit;
  return of_entries.view({units, group.unit, units, group.unit}).diagonal(0, 1, 3).mean(-1);
}

template <typename OfNode>
at::Tensor mean_over(const std::vector<NodeMoments>& nodes, const OfNode& of_node) {
  at::Tensor sum = of_node(nodes.front());
  for (size_t i = 1; i < nodes.size(); ++i) {
    sum = sum + of_node(nodes[i]);
  }
  return sum / static_cast<double>(nodes.size());
}

Weights computed(const FusionInput& in, int64_t examples) {
  const at::NoGradGuard no_grad;
  const PrecisionScope scope(in.network().precision);
  const auto sums = moments(in, examples);
  Weights all;
  for (const AxisGroup& group : in.network().architecture->axis_groups()) {
    const auto nodes = sums.find(group.name);
    FUSEGRID_ASSERT(nodes != sums.end(), "a pass shows no activations of group " + group.name);
    const auto correlations = [](const NodeMoments& node) { return node.correlations(); };
    const auto distances = [](const NodeMoments& node) { return node.distances(); };
    all.emplace("correlations/" + group.name, of_units(mean_over(nodes->second, correlations), group));
    all.emplace("distances/" + group.name, of_units(mean_over(nodes->second, distances), group));
  }
  return all;
}

// Of the inputs themselves, so that models on other data have others.
std::string key_of(const FusionInput& in, int64_t examples) {
  Weights inputs;
  const int64_t share =
      std::max<int64_t>(1, examples / std::max<int64_t>(1, static_cast<int64_t>(in.tasks().size())));
  for (const std::string& task : in.tasks()) {
    int64_t number = 0;
    for (const at::Tensor& tensor : in.train_inputs(task, share).tensors()) {
      inputs.emplace(task + "/" + std::to_string(number++), tensor);
    }
  }
  return "unit_activations{examples=" + number_text(examples) + "}/" + digest(inputs) + "/" +
         digest(in.network());
}

}  // namespace

std::map<std::string, UnitActivations> unit_activations(const FusionInput& in, int64_t examples) {
  const auto all = in.statistic(key_of(in, examples), StatisticsCache::Keep::kMemory,
                                [&] { return computed(in, examples); });
  std::map<std::string, UnitActivations> by_group;
  for (const AxisGroup& group : in.network().architecture->axis_groups()) {
    by_group[group.name] = {all->at("correlations/" + group.name), all->at("distances/" + group.name)};
  }
  return by_group;
}

at::Tensor block_of(const at::Tensor& matrix, size_t experts, size_t row, size_t column) {
  const int64_t units = matrix.size(0) / static_cast<int64_t>(experts);
  return matrix.narrow(0, static_cast<int64_t>(row) * units, units)
      .narrow(1, static_cast<int64_t>(column) * units, units);
}

}  // namespace fusegrid
