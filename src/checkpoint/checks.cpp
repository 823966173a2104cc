#include "checkpoint/checks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

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

// Values that are not finite have an exponent of ones. Bits are compared, in one pass without temporary tensors.
template <typename Value, typename Bits>
bool has_exponent(const at::Tensor& block, Bits exponent) {
  const Value* values = block.const_data_ptr<Value>();
  const int64_t count = block.numel();
  bool found = false;
  for (int64_t i = 0; i < count; ++i) {
    found |= (std::bit_cast<Bits>(values[i]) & exponent) == exponent;
  }
  return found;
}

bool all_finite(const at::Tensor& block) {
  switch (block.scalar_type()) {
    case at::kDouble:
      return !has_exponent<double>(block, uint64_t{0x7ff0'0000'0000'0000});
    case at::kFloat:
      return !has_exponent<float>(block, uint32_t{0x7f80'0000});
    case at::kBFloat16:
      return !has_exponent<at::BFloat16>(block, uint16_t{0x7f80});
    case at::kHalf:
      return !has_exponent<at::Half>(block, uint16_t{0x7c00});
    default:
      return at::isfinite(with_isfinite(block)).all().item<bool>();
  }
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
    const at::Tensor block = flat.narrow(0, begin, std::min(kBlockElements, flat.numel() - begin));
    if (!all_finite(block)) {
      const auto first =
          at::isfinite(with_isfinite(block)).logical_not().to(at::kByte).argmax().item<int64_t>();
      return NonFinite{name, begin + first, value_text(with_isfinite(block)[first])};
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
