// What PEFT's add_weighted_adapter makes of LoRA adapters.
// Source: PEFT 0.21.0, peft/tuners/lora/model.py and peft/utils/merge_utils.py.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/params.h"
#include "merge/adapter/adapter_inputs.h"
#include "merge/adapter/low_rank.h"

namespace fusegrid::adapters {

// One of PEFT's combination types, with its parameters.
struct PeftCombination {
  std::string type;             // "linear", "cat", "svd", "ties", "ties_svd", "dare_linear", ...
  std::vector<double> weights;  // of each adapter
  double density = 1;
  bool by_frequency = false;  // the sign of an entry is elected by counting signs, not by their sum
  uint64_t seed = 0;

  bool cuts() const { return type.ends_with("svd"); }  // the result is cut to a rank
  std::string canonical() const;                       // all parameters written out
};

// The types as methods are called here: "peft_linear", ...
std::vector<std::string> peft_methods();
bool is_peft_method(const std::string& name);
// Throws ConfigError where a parameter is unknown, out of range or none of the type's.
PeftCombination peft_combination(const std::string& method, const ParamText& parameters, size_t adapters,
                                 uint64_t seed);

// ConfigError where the combination is one of the factors themselves and the adapters have other ranks.
void check_ranks(const AdapterInputs& inputs, const PeftCombination& combination);

// What it makes of LoRA adapters: a module after another. What adapters do not change takes no part. Of the types that
// cut, by the rule; else exactly what PEFT adds up, so that error norms are 0. float32; sums over the adapters in their
// order. Random entries are kept by fusegrid's numbers (seed, adapter, tensor), not PyTorch's. The same bits for any
// number of threads. check_ranks() has been passed.
std::map<std::string, LowRankUpdate> combine(const AdapterInputs& inputs, const PeftCombination& combination,
                                             const RankRule& rule, int threads);

}  // namespace fusegrid::adapters
