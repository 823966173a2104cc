#pragma once

#include <cstdint>

#include "models/network.h"

namespace fusegrid {

// The batch of a step, ready for the network on its device: `batch` of the examples, or all where there are fewer.
// Every epoch has its own order, a function of the key; the last examples of it, which fill no batch, are left out.
Examples labelled_batch(const Network& network, const Examples& all, uint64_t key, int64_t batch,
                        int64_t step);

}  // namespace fusegrid
