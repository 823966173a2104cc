#include "checkpoint/checks.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

TEST(FindNonFinite, names_the_first_tensor_and_index_of_every_floating_dtype) {
  for (const auto dtype :
       {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kFloat8_e5m2, at::kFloat8_e4m3fn}) {
    at::Tensor values = at::ones({3, 4});
    values[1][2] = std::nanf("");
    values[2][0] = std::nanf("");
    const auto found = find_non_finite({{"a", at::zeros({5})}, {"b", values.to(dtype)}, {"c", values}});
    ASSERT_TRUE(found.has_value()) << dtype;
    EXPECT_EQ(found->tensor, "b") << dtype;
    EXPECT_EQ(found->index, 6) << dtype;
    EXPECT_EQ(found->value, "nan") << dtype;
  }
}

TEST(FindNonFinite, looks_beyond_the_first_block_and_at_views) {
  at::Tensor values = at::zeros({3'000'000});
  values[2'500'000] = -std::numeric_limits<float>::infinity();
  const auto found = find_non_finite({{"a", values}});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->index, 2'500'000);
  EXPECT_EQ(found->value, "-inf");
  at::Tensor matrix = at::zeros({2, 3});
  matrix[0][1] = std::nanf("");
  EXPECT_EQ(find_non_finite({{"t", matrix.t()}})->index, 2) << "counted in C order of the view";
}

TEST(FindNonFinite, passes_large_finite_and_whole_numbers) {
  EXPECT_FALSE(find_non_finite({{"a", at::full({2}, 1e300, at::kDouble)},
                                {"b", at::ones({2}, at::kLong)},
                                {"c", at::zeros({0})},
                                {"d", at::full({}, 65504, at::kHalf)}})
                   .has_value());
}

TEST(CheckFinite, names_checkpoint_tensor_index_and_value) {
  at::Tensor values = at::ones({2});
  values[1] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(message_of<DataError>([&] {
                check_finite({{"head", values}}, "expert3");
              }),
              HasSubstr("'expert3' must be finite, but element 1 of 'head' is inf (1 of 2 are not finite)"));
}

}  // namespace
}  // namespace fusegrid
