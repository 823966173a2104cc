// Layers of checkpoints, one upon the other, as one model: depth up-scaling ("SOLAR 10.7B", Kim et al., 2023,
// arXiv:2312.15166) and what is called frankenmerging (slices and passthrough of mergekit).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checkpoint/model_spec.h"

namespace fusegrid {

// Reads "FOLDER[BEGIN:END]+FOLDER[BEGIN:END]+..."; END is behind the last layer. Null where `text` does not end in such
// a range. Throws ConfigError where it does and the rest is wrong.
//
// The model has the layers of the slices, numbered anew from 0; what comes before the layers (embeddings) is the first
// folder's, what comes behind them (last norm, head) the last one's, as in mergekit. Opening it throws ConfigError
// where a folder has no stack of layers, or several (two towers), fewer layers than asked for, or tensors of other
// shapes.
//
// Its config.json is the first folder's with the number of layers of the stack; what it says of single layers goes with
// them (stacked_config.h). ConfigError where that cannot be, or where it does not say how many layers there are.
std::unique_ptr<ModelSpec> parse_layer_stack(const std::string& text);

// How many layers the one stack of a model has. Throws ConfigError where it has none, or several.
int64_t count_layers(const ModelSource& model);
// Of a tensor outside of the layers, whether it comes behind them in the forward pass, by the names that architectures
// use.
bool is_behind_layers(const std::string& tensor);

}  // namespace fusegrid
