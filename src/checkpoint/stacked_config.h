#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace fusegrid {

// A layer of a stack, where it comes from.
struct StackedLayer {
  std::string model;             // for messages
  const nlohmann::json* config;  // the model's
  int64_t layers = 0;            // that the model has
  int64_t layer = 0;             // its number there
};

// `config`, that of the first layer's model, for a stack of these layers: what it says of single layers goes with
// them. Lists with an entry for each layer (layer_types) are put together anew, lists of layers' numbers
// (mlp_only_layers) are renumbered, and rules that choose layers by number (first_k_dense_replace,
// decoder_sparse_step) must choose the same ones. Throws ConfigError, which names the key, where they do not, and
// where a key that is not known speaks of single layers. The number of layers itself is left to the caller.
void restack_config(nlohmann::json& config, const std::vector<StackedLayer>& stack);

}  // namespace fusegrid
