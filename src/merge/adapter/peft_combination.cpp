#include "merge/adapter/peft_combination.h"

#include <algorithm>
#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/model_weights.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/passes/selection.h"

namespace fusegrid::adapters {
namespace {

constexpr auto kPrefix = "peft_";

const std::vector<std::string>& types() {
  static const std::vector<std::string> all{
      "cat",           "dare_linear", "dare_linear_svd", "dare_ties",
      "dare_ties_svd", "linear",      "magnitude_prune", "magnitude_prune_svd",
      "svd",           "ties",        "ties_svd"};
  return all;
}

// The parameters of a type.
struct Parameters {
  std::string type;
  std::vector<double> weights{};
  double density = 1;
  std::string majority_sign = "total";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("weights", weights, Range{-100, 100}, "weight of each adapter; empty: all 1");
    if (type.find("dare") != std::string::npos || type.find("ties") != std::string::npos ||
        type.find("prune") != std::string::npos) {
      v.param("density", density, Range{0.001, 1}, "fraction of the entries that are kept");
    }
    if (type.find("ties") != std::string::npos) {
      v.param("majority_sign", majority_sign, Choices{"total", "frequency"},
              "whether the sign of an entry is that of the sum, or that of most adapters");
    }
  }
};

// What one adapter has of a tensor.
struct Part {
  at::Tensor values;
  double weight = 1;
  std::string random;  // names the random numbers
};

// Of the entries, those that the density keeps.
at::Tensor pruned(const Part& part, const PeftCombination& combination) {
  if (combination.density >= 1) {
    return part.values;
  }
  if (!combination.type.starts_with("dare")) {
    const auto count = static_cast<int64_t>(combination.density * static_cast<double>(part.values.numel()));
    return part.values * largest_mask(part.values.abs(), count);
  }
  const at::Tensor numbers =
      uniform(derive_key(combination.seed, "peft/" + part.random), 0, 0, part.values.numel());
  const at::Tensor kept = numbers.view(part.values.sizes()) < combination.density;
  return part.values * kept / combination.density;
}

// PEFT's task_arithmetic, magnitude_prune, dare_linear, ties and dare_ties of one tensor.
at::Tensor sum_of_parts(const std::vector<Part>& parts, const PeftCombination& combination) {
  const bool prunes = combination.type != "linear" && combination.type != "svd";
  std::vector<at::Tensor> values;
  for (const Part& part : parts) {
    values.push_back(prunes ? pruned(part, combination) : part.values);
  }
  const bool elects = combination.type.find("ties") != std::string::npos;
  at::Tensor election = at::zeros_like(values.front());
  for (const at::Tensor& value : values) {
    election = election + (combination.by_frequency ? value.sign() : value);
  }
  const at::Tensor sign = at::where(election >= 0, 1, -1);
  at::Tensor sum = at::zeros_like(values.front());
  at::Tensor agreeing = at::zeros_like(values.front());
  for (size_t i = 0; i < values.size(); ++i) {
    const at::Tensor weighted = values[i] * static_cast<float>(parts[i].weight);
    const at::Tensor agrees = values[i].sign() == sign;
    sum = sum + (elects ? weighted * agrees : weighted);
    agreeing = agreeing + agrees;
  }
  return elects ? sum / agreeing.clamp_min(1.0) : sum;
}

// The factors of the adapters that change the tensor, each with its number.
struct Changing {
  size_t adapter = 0;
  LowRankFactors factors;
};

std::vector<Changing> all_changing(const AdapterInputs& inputs, const std::string& tensor) {
  std::vector<Changing> members;
  for (size_t i = 0; i < inputs.experts.size(); ++i) {
    if (auto factors = inputs.experts[i]->factors(tensor)) {
      members.push_back({i, std::move(*factors)});
    }
  }
  return members;
}

LowRankFactors side_by_side(const std::vector<Changing>& members, const std::vector<double>& weights) {
  std::vector<at::Tensor> b;
  std::vector<at::Tensor> a;
  for (const Changing& member : members) {
    b.push_back(member.factors.b);
    a.push_back(member.factors.a * static_cast<float>(weights[member.adapter]) *
                static_cast<float>(member.factors.scale));
  }
  return {concatenate(b, 1), concatenate(a, 0), 1};
}

// Factors are combined by themselves, each with the root of weight and scale.
LowRankFactors of_factors(const AdapterInputs& inputs, const std::string& tensor,
                          const std::vector<Changing>& members, const PeftCombination& combination) {
  std::vector<Part> b;
  std::vector<Part> a;
  const bool turned = inputs.is_turned(tensor);
  for (const Changing& member : members) {
    const std::string& name = inputs.adapters[member.adapter].name;
    const LowRankFactors factors = as_of_layer(member.factors, turned);
    const double weight = combination.weights[member.adapter] * member.factors.scale;
    const double root = std::sqrt(std::abs(weight));
    b.push_back({factors.b, root, name + "/" + tensor + "/B"});
    a.push_back({factors.a, std::copysign(root, weight), name + "/" + tensor + "/A"});
  }
  return as_of_layer({sum_of_parts(b, combination), sum_of_parts(a, combination), 1}, turned);
}

// The update of pruned and elected updates.
at::Tensor of_updates(const AdapterInputs& inputs, const std::string& tensor,
                      const std::vector<Changing>& members, const PeftCombination& combination) {
  std::vector<Part> parts;
  for (const Changing& member : members) {
    parts.push_back(
        {at::matmul(member.factors.b, member.factors.a) * static_cast<float>(member.factors.scale),
         combination.weights[member.adapter], inputs.adapters[member.adapter].name + "/" + tensor});
  }
  return sum_of_parts(parts, combination);
}

LowRankUpdate exact(LowRankFactors factors, const std::string& what) {
  LowRankUpdate update;
  update.norm = finite_norm(at::matmul(factors.b, factors.a), what);
  update.factors = std::move(factors);
  return update;
}

LowRankUpdate combined(const AdapterInputs& inputs, const std::string& tensor,
                       const PeftCombination& combination, const RankRule& rule) {
  const auto members = all_changing(inputs, tensor);
  const std::string what = "what the merge makes of '" + tensor + "'";
  if (combination.type == "cat") {
    return exact(side_by_side(members, combination.weights), what);
  }
  if (combination.type == "svd") {
    return cut_to_rank(side_by_side(members, combination.weights), rule, what);
  }
  return combination.cuts() ? cut_to_rank(of_updates(inputs, tensor, members, combination), rule, what)
                            : exact(of_factors(inputs, tensor, members, combination), what);
}

}  // namespace

std::string PeftCombination::canonical() const {
  Parameters parameters{type, weights, density, by_frequency ? "frequency" : "total"};
  ParamLister lister;
  parameters.describe(lister);
  return lister.canonical();
}

std::vector<std::string> peft_methods() {
  std::vector<std::string> names;
  for (const std::string& type : types()) {
    names.push_back(kPrefix + type);
  }
  return names;
}

bool is_peft_method(const std::string& name) {
  const auto names = peft_methods();
  return std::find(names.begin(), names.end(), name) != names.end();
}

PeftCombination peft_combination(const std::string& method, const ParamText& parameters, size_t adapters,
                                 uint64_t seed) {
  Parameters read{.type = method.substr(std::string(kPrefix).size())};
  ParamReader reader("method '" + method + "'", parameters);
  read.describe(reader);
  reader.expect_all_read();
  return {.type = read.type,
          .weights = model_weights(method, read.weights, false, static_cast<int64_t>(adapters)),
          .density = read.density,
          .by_frequency = read.majority_sign == "frequency",
          .seed = seed};
}

void check_ranks(const AdapterInputs& inputs, const PeftCombination& combination) {
  if (combination.cuts() || combination.type == "cat") {
    return;
  }
  for (const TensorInfo& info : inputs.base->tensors()) {
    const auto members = all_changing(inputs, info.name);
    const int64_t first = members.front().factors.a.size(0);
    for (const Changing& member : members) {
      if (const int64_t rank = member.factors.a.size(0); rank != first) {
        throw ConfigError(
            "method '" + (kPrefix + combination.type) +
            "' combines the factors themselves, so it needs adapters of one rank, but of '" + info.name +
            "' '" + inputs.adapters[members.front().adapter].name + "' has rank " + number_text(first) +
            " and '" + inputs.adapters[member.adapter].name + "' " + number_text(rank) +
            "; take peft_cat, or one that combines updates: peft_svd, peft_ties_svd, ties, knots, ...");
      }
    }
  }
}

std::map<std::string, LowRankUpdate> combine(const AdapterInputs& inputs, const PeftCombination& combination,
                                             const RankRule& rule, int threads) {
  const auto& tensors = inputs.base->tensors();
  std::vector<LowRankUpdate> updates(tensors.size());
  in_parallel(threads, tensors.size(), [&](size_t i) {
    at::set_num_threads(1);  // sums must not depend on the number of threads
    const at::NoGradGuard no_gradients;
    updates[i] = combined(inputs, tensors[i].name, combination, rule);
  });
  std::map<std::string, LowRankUpdate> by_name;
  for (size_t i = 0; i < tensors.size(); ++i) {
    by_name.emplace(tensors[i].name, std::move(updates[i]));
  }
  return by_name;
}

}  // namespace fusegrid::adapters
