#pragma once

#include <cstdint>
#include <functional>

#include "models/network.h"

namespace fusegrid {

// Visits all inputs as for_each_batch() does, each batch made ready (Network::ready()). Where the network is on a GPU
// and the inputs are not, a thread copies the next batches into page-locked buffers and from there to the device while
// `visit` computes: what is on the device is a window of a few batches. The batches and their bits are the same either
// way. Throws what ready() and `visit` throw.
void feed(const Network& network, const Inputs& inputs, int64_t batch,
          const std::function<void(const Inputs& ready, const at::Tensor& places)>& visit);

// feed() of a network that outlives it.
inline auto feed_of(const Network& network) {
  return [&network](const Inputs& inputs, int64_t batch,
                    const std::function<void(const Inputs& ready, const at::Tensor& places)>& visit) {
    feed(network, inputs, batch, visit);
  };
}

}  // namespace fusegrid
