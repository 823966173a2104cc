#include "fusion/slice.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/sub.h>

#include "fusion/chunked_sum.h"

namespace fusegrid {

at::Tensor Slice::task_vector(size_t expert) const {
  if (!base.defined()) {
    throw AccessError("a task vector needs the base: declare Need::kPretrained in the method's card");
  }
  return at::sub(experts[expert], base);
}

std::vector<at::Tensor> Slice::task_vectors() const {
  std::vector<at::Tensor> taus;
  for (size_t i = 0; i < experts.size(); ++i) {
    taus.push_back(task_vector(i));
  }
  return taus;
}

at::Tensor Slice::of(const Weights& whole) const {
  const at::Tensor& tensor = whole.at(name());
  const bool own_shape = count == tensor.numel() && experts.front().dim() == tensor.dim();
  return own_shape ? tensor : tensor.view({-1}).narrow(0, begin, count);
}

at::Tensor sum_of(const std::vector<at::Tensor>& tensors) {
  if (!tensors.empty() && std::all_of(tensors.begin(), tensors.end(), is_plain)) {
    return chunked_sum(tensors, [](float entry, int64_t) { return entry; });
  }
  at::Tensor sum = tensors.at(0).clone();
  for (size_t i = 1; i < tensors.size(); ++i) {
    sum.add_(tensors[i]);
  }
  return sum;
}

at::Tensor mean_of(const std::vector<at::Tensor>& tensors) {
  return sum_of(tensors).div_(static_cast<double>(tensors.size()));
}

}  // namespace fusegrid
