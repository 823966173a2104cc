#include "checkpoint/non_finite.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

int64_t count(const at::Tensor& values) {
  return count_non_finite(values.const_data_ptr(), values.scalar_type(), values.numel());
}

TEST(NonFinite, all_bits_of_narrow_dtypes_are_judged_as_libtorch_does) {
  for (const at::ScalarType dtype :
       {at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kFloat8_e4m3fnuz, at::kFloat8_e5m2fnuz}) {
    const at::Tensor values = at::arange(256, at::kByte).view(dtype);
    EXPECT_EQ(count(values), values.to(at::kFloat).isfinite().logical_not().sum().item<int64_t>()) << dtype;
  }
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    const at::Tensor values = at::arange(65536, at::kInt).to(at::kShort).view(dtype);
    EXPECT_EQ(count(values), values.isfinite().logical_not().sum().item<int64_t>()) << dtype;
  }
}

TEST(NonFinite, wide_dtypes_are_judged_in_float32) {
  const double inf = std::numeric_limits<double>::infinity();
  const double largest = std::numeric_limits<float>::max();
  const std::vector<double> values{0, -1, largest, -largest, 1e-320, inf, -inf, std::nan(""), -std::nan("")};
  EXPECT_EQ(count(at::tensor(values, at::kFloat)), 4);
  EXPECT_EQ(count(at::tensor(values, at::kDouble)), 4);
  EXPECT_EQ(count(at::tensor({3.402823669e38, 3.5e38, 1e300, -1e300, 3.4028234e38}, at::kDouble)), 4);
}

TEST(NonFinite, every_place_of_a_long_range_is_seen) {
  for (const int64_t place : {0, 1, 4095, 4096, 9999}) {
    at::Tensor values = at::full({10'000}, 1.0, at::kFloat);
    EXPECT_EQ(count(values), 0);
    values[place] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(count(values), 1) << place;
  }
  EXPECT_EQ(count_non_finite(nullptr, at::kFloat, 0), 0);
}

}  // namespace
}  // namespace fusegrid
