#include "checkpoint/checks.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/all.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/isfinite.h>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kBlockElements = int64_t{1} << 20;  // bounds the memory of the temporary tensors

// `block` in a type for which LibTorch has isfinite; float holds the values of all 8-bit types exactly.
at::Tensor with_isfinite(const at::Tensor& block) {
  return at::isFloat8Type(block.scalar_type()) ? block.to(at::kFloat) : block;
}

std::string value_text(const at::Tensor& element) {
  if (element.is_complex()) {
    return "not finite";
  }
  const auto value = element.to(at::kDouble).item<double>();
  return std::isnan(value) ? "nan" : number_text(value);  // the sign of a NaN depends on the conversion
}

std::optional<NonFinite> find_non_finite(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().contiguous().view({-1});
  for (int64_t begin = 0; begin < flat.numel(); begin += kBlockElements) {
    const at::Tensor block =
        with_isfinite(flat.narrow(0, begin, std::min(kBlockElements, flat.numel() - begin)));
    const at::Tensor finite = at::isfinite(block);
    if (!finite.all().item<bool>()) {
      const auto first = finite.logical_not().to(at::kByte).argmax().item<int64_t>();
      return NonFinite{name, begin + first, value_text(block[first])};
    }
  }
  return std::nullopt;
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) {
    sizes.push_back(number_text(size));
  }
  return "[" + join(sizes, ", ") + "]";
}

std::optional<NonFinite> find_non_finite(const Weights& weights) {
  for (const auto& [name, tensor] : weights) {
    if (tensor.is_floating_point() || tensor.is_complex()) {
      if (auto found = find_non_finite(name, tensor)) {
        return found;
      }
    }
  }
  return std::nullopt;
}

void check_finite(const Weights& weights, const std::string& name) {
  if (const auto found = find_non_finite(weights)) {
    const at::Tensor& tensor = weights.at(found->tensor);
    const auto count = with_isfinite(tensor).isfinite().logical_not().sum().item<int64_t>();
    throw DataError("the weights of '" + name + "' must be finite, but element " + number_text(found->index) +
                    " of '" + found->tensor + "' is " + found->value + " (" + number_text(count) + " of " +
                    number_text(tensor.numel()) + " are not finite); train or download it again");
  }
}

}  // namespace fusegrid
