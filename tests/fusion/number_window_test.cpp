#include "fusion/number_window.h"

#include <algorithm>
#include <bit>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

int64_t number_of(float value, Order order) {
  return ordered_bits(value, order);
}

// `values` but how often each number in the window around `middle` occurs is counted by looking at all.
std::vector<int64_t> counted_one_by_one(const at::Tensor& values, Order order, int64_t middle) {
  const int64_t first = middle - NumberWindow::kNumbers / 2;
  std::vector<int64_t> counts(NumberWindow::kNumbers + 1, 0);
  const auto* data = values.const_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const int64_t position = number_of(data[i], order) - first;
    if (position < 0) {
      ++counts[0];
    } else if (position < NumberWindow::kNumbers) {
      ++counts[static_cast<size_t>(position + 1)];
    }
  }
  return counts;
}

std::vector<int64_t> counted(const at::Tensor& values, Order order, int64_t middle, int64_t parts,
                             int64_t spill_after = UINT32_MAX) {
  NumberWindow window(order, middle, spill_after);
  for (const at::Tensor& part : values.chunk(parts)) {
    window.add(ChunkReader(SliceVector(part)));
  }
  return window.counts();
}

// Normal numbers, and normal numbers rounded to so few that one of them is a fifth of all.
std::vector<at::Tensor> dense_and_coarse() {
  const at::Tensor dense = normal(3, 0, 0, 100'003);
  return {dense, (dense * 4).round() / 4};
}

TEST(NumberWindow, counts_what_is_below_and_every_number_in_it) {
  for (const at::Tensor& values : dense_and_coarse()) {
    for (const Order order : {Order::kValues, Order::kMagnitudes}) {
      for (const float at : {0.75F, -0.25F}) {
        const int64_t middle = number_of(at, order);
        const auto expected = counted_one_by_one(values, order, middle);
        EXPECT_GT(expected[0], 0);
        EXPECT_EQ(counted(values, order, middle, 7), expected) << at;
      }
    }
  }
}

TEST(NumberWindow, empties_its_narrow_counters_before_they_overflow) {
  for (const at::Tensor& values : dense_and_coarse()) {
    const int64_t middle = number_of(0.75F, Order::kMagnitudes);
    EXPECT_EQ(counted(values, Order::kMagnitudes, middle, 40, 6'000),
              counted_one_by_one(values, Order::kMagnitudes, middle));
  }
}

TEST(NumberWindow, finds_the_numbers_in_it_by_rank) {
  const at::Tensor values = normal(5, 0, 0, 50'000);
  std::vector<float> sorted(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
  std::sort(sorted.begin(), sorted.end());
  const int64_t middle = number_of(sorted[25'000], Order::kValues);
  NumberWindow window(Order::kValues, middle);
  window.add(ChunkReader(SliceVector(values)));
  const auto counts = window.counts();
  const int64_t first = counts[0] + 1;
  int64_t last = counts[0];
  for (size_t i = 1; i < counts.size(); ++i) {
    last += counts[i];
  }
  ASSERT_GT(last, first);
  for (int64_t k = first; k <= last; ++k) {
    EXPECT_EQ(window.find(counts, k), ordered_bits(sorted[static_cast<size_t>(k - 1)], Order::kValues)) << k;
  }
  EXPECT_FALSE(window.find(counts, first - 1));
  EXPECT_FALSE(window.find(counts, last + 1));
}

TEST(NumberWindow, lies_within_the_numbers_that_there_are) {
  const at::Tensor values = normal(6, 0, 0, 5'000);
  EXPECT_EQ(counted(values, Order::kValues, 0, 1)[0], 0);
  EXPECT_EQ(counted(values, Order::kValues, int64_t{1} << 32, 1)[0], 5'000);
}

}  // namespace
}  // namespace fusegrid
