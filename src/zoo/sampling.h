// Which examples the steps of a training see. All random numbers come from Philox and are keyed by (seed, purpose,
// step), so that a step's batch is the same on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// An integer in [0, n) from a number in [0, 1).
int64_t scaled(float uniform, int64_t n);

// Sources that stand one after the other, and how often each is drawn from.
class SourceMix {
 public:
  void add(int64_t examples, double share);
  int64_t size() const { return begin_.back(); }
  // Of an example: its source by the shares, itself uniformly, each from a number in [0, 1).
  int64_t draw(float source, float example) const;

 private:
  std::vector<int64_t> begin_{0};  // of each source, and the end
  std::vector<double> ends_;       // of each share, summed up
};

// Batches of random orders of the examples, one order after another; what is left of an order when it is shorter than a
// batch is dropped. A batch is never larger than an order.
class ExampleOrder {
 public:
  ExampleOrder(int64_t examples, int64_t batch, uint64_t key);
  at::Tensor next();  // int64 [batch], on the CPU

 private:
  int64_t examples_, batch_, position_ = 0;
  uint64_t key_, epoch_ = 0;
  at::Tensor order_;
};

// On `device`, without waiting for it.
at::Tensor sent(const at::Tensor& on_cpu, at::Device device);

}  // namespace fusegrid
