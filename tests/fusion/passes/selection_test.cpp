#include "fusion/passes/selection.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

// By sorting: of equal entries the earlier one first.
at::Tensor mask_by_sorting(const at::Tensor& values, int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(values.numel()));
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<int64_t>(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return values[a].item<double>() > values[b].item<double>(); });
  at::Tensor mask = values != values;
  for (int64_t i = 0; i < count; ++i) {
    mask[order[static_cast<size_t>(i)]] = true;
  }
  return mask;
}

TEST(LargestMask, equals_sorting_for_every_count) {
  const at::Tensor ties = at::tensor({2.0F, 1.0F, 2.0F, 0.0F, 2.0F, 3.0F, 1.0F, 0.0F, 0.0F});
  const at::Tensor coarse = (normal(1, 0, 0, 200) * 4).round();
  for (const at::Tensor& values : {ties, coarse, normal(2, 0, 0, 200)}) {
    for (int64_t count = 0; count <= values.numel(); ++count) {
      EXPECT_TRUE(largest_mask(values, count).equal(mask_by_sorting(values, count))) << count;
    }
  }
}

// So many entries that selection takes a sample; sorted ones and rare values are not like it.
TEST(LargestMask, of_many_entries_equals_sorting) {
  constexpr int64_t kMany = 40'000;
  const at::Tensor random = normal(3, 0, 0, kMany);
  at::Tensor peaks = at::zeros_like(random);
  peaks.narrow(0, 100, 50).fill_(1);
  at::Tensor infinite = random.clone();
  infinite.narrow(0, 7, 900).fill_(std::numeric_limits<float>::infinity());
  for (const at::Tensor& values :
       {random, std::get<0>(random.sort()), (random * 4).round(), peaks, infinite}) {
    const auto order = at::argsort(values, /*stable=*/true, /*dim=*/0, /*descending=*/true);
    for (const int64_t count : {1, 40, 60, 500, 4'000, 20'000, 30'000, 39'990, 39'999}) {
      const at::Tensor expected = at::zeros({kMany}, at::TensorOptions(at::kBool));
      expected.index_fill_(0, order.narrow(0, 0, count), true);
      EXPECT_TRUE(largest_mask(values, count).equal(expected)) << count;
      EXPECT_TRUE(largest_mask(values.to(at::kDouble), count).equal(expected)) << count;
      EXPECT_EQ(kth_value(values, kMany + 1 - count), values[order[count - 1]].item<float>()) << count;
    }
  }
}

TEST(LargestMask, keeps_the_shape_and_counts_row_by_row) {
  const at::Tensor mask = largest_mask(at::tensor({1.0F, 1.0F, 1.0F, 5.0F}).view({2, 2}), 3);
  EXPECT_TRUE(mask.equal(at::tensor({1, 1, 0, 1}).view({2, 2}) == 1));
}

TEST(KthValue, counts_from_one) {
  const at::Tensor values = at::tensor({5.0F, -1.0F, 3.0F});
  EXPECT_EQ(kth_value(values, 1), -1);
  EXPECT_EQ(kth_value(values, 2), 3);
  EXPECT_EQ(kth_value(values, 3), 5);
}

}  // namespace
}  // namespace fusegrid
