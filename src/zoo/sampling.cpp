#include "zoo/sampling.h"

#include <algorithm>

#include <ATen/ops/tensor.h>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {

int64_t scaled(float uniform, int64_t n) {
  return std::min(static_cast<int64_t>(static_cast<double>(uniform) * static_cast<double>(n)), n - 1);
}

void SourceMix::add(int64_t examples, double share) {
  begin_.push_back(begin_.back() + examples);
  ends_.push_back((ends_.empty() ? 0 : ends_.back()) + share);
}

int64_t SourceMix::draw(float source, float example) const {
  FUSEGRID_ASSERT(!ends_.empty(), "no source to draw from");
  const double drawn = static_cast<double>(source) * ends_.back();
  const auto index =
      std::min(static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), drawn) - ends_.begin()),
               ends_.size() - 1);
  return begin_[index] + scaled(example, begin_[index + 1] - begin_[index]);
}

ExampleOrder::ExampleOrder(int64_t examples, int64_t batch, uint64_t key)
    : examples_(examples), batch_(std::min(batch, examples)), key_(key) {}

at::Tensor ExampleOrder::next() {
  if (!order_.defined() || position_ + batch_ > examples_) {
    order_ = at::tensor(permutation(key_, epoch_++, examples_), at::kLong);
    position_ = 0;
  }
  position_ += batch_;
  return order_.narrow(0, position_ - batch_, batch_);
}

at::Tensor sent(const at::Tensor& on_cpu, at::Device device) {
  return device.is_cuda() ? on_cpu.pin_memory().to(device, /*non_blocking=*/true) : on_cpu.to(device);
}

}  // namespace fusegrid
