#pragma once

#include <cstdint>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// The batch of a step, ready for the network on its device: `batch` of the examples, or all where there are fewer.
// Every epoch has its own order, a function of the key; the last examples of it, which fill no batch, are left out.
Examples labelled_batch(const Network& network, const Examples& all, uint64_t key, int64_t batch,
                        int64_t step);

// Of sum_t shares[t] * mean loss of the examples of task t, with gradients of the leaves among the weights. examples:
// of all tasks, in their order, ready for the network on its device.
void backward_of_losses(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples,
                        const std::vector<double>& shares);

// The same of the task with this index alone; returns its mean loss.
double backward_of_loss(const FusionInput& in, const Weights& weights, const std::vector<Examples>& examples,
                        size_t task);

}  // namespace fusegrid
