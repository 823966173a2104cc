#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "models/network.h"
#include "tasks/kind.h"

namespace fusegrid {

// Gram matrices of the inputs of all layers: Layer::input -> float64 [in, in], X^T X / rows, where the rows are all
// tokens of the inputs that count, and of the answers that the model itself gives where answers are tokens
// (TaskKind::completed()). One forward pass of `weights`. Source: Jin et al., "Dataless Knowledge Fusion by Merging
// Weights of Language Models" (RegMean), ICLR 2023, arXiv:2212.09849.
Weights gram_matrices(const Network& network, const Weights& weights, const std::string& task,
                      const TaskKind& kind, const Inputs& inputs, const std::function<void()>& tick);

// Diagonal Fisher information of a task's model on unlabelled inputs, per parameter, divided by the number of inputs.
// ConfigError where the kind has no distribution.
//   "exact"          sum_x sum_c p_c (d log p_c)^2: the true diagonal (Matena & Raffel, NeurIPS 2022,
//                    arXiv:2111.09832); asked of kinds with classes
//   "sampled"        sum_x (d sum_rows log p_c)^2 with a class c drawn from each row's p: an estimate without bias of
//                    the true diagonal along an answer, for any number of classes; x and the row decide the drawing
//   "batch_squared"  sum_batches (d sum_x sum_c sqrt(p_c) log p_c)^2: what FusionBench and MergeLM compute; it contains
//                    cross terms between the examples of a batch, so it depends on `batch`
// Rows are those of log_probabilities(): one of a task of classes, of tokens one for each of the model's own answer.
Weights fisher_diagonal(const Network& network, const Weights& weights, const std::string& task,
                        const TaskKind& kind, const Inputs& inputs, int64_t batch, const std::string& variant,
                        const std::function<void()>& tick);

}  // namespace fusegrid
