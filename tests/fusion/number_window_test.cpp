#include "fusion/number_window.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

int64_t number_of(float value, Order order) {
  return ordered_bits(value, order);
}

// How many values are below the window around `middle`, and how often each number in it occurs.
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

std::vector<int64_t> counted(const at::Tensor& values, Order order, int64_t middle, int64_t part,
                             int64_t spill_after = UINT32_MAX) {
  NumberWindow window(order, middle, spill_after);
  for (int64_t begin = 0; begin < values.numel(); begin += part) {
    window.add(values.const_data_ptr<float>() + begin, std::min(part, values.numel() - begin));
  }
  std::vector<int64_t> counts{window.below()};
  for (size_t position = 0; position < NumberWindow::kNumbers; ++position) {
    counts.push_back(window.count(position));
  }
  return counts;
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
        EXPECT_EQ(counted(values, order, middle, 1'000), expected) << at;
      }
    }
  }
}

TEST(NumberWindow, empties_its_narrow_counters_before_they_overflow) {
  for (const at::Tensor& values : dense_and_coarse()) {
    const int64_t middle = number_of(0.75F, Order::kMagnitudes);
    EXPECT_EQ(counted(values, Order::kMagnitudes, middle, 1'000, 6'000),
              counted_one_by_one(values, Order::kMagnitudes, middle));
  }
}

TEST(NumberWindow, lies_within_the_numbers_that_there_are) {
  const at::Tensor values = normal(6, 0, 0, 5'000);
  EXPECT_EQ(counted(values, Order::kValues, 0, 1'000)[0], 0);
  EXPECT_EQ(counted(values, Order::kValues, int64_t{1} << 32, 1'000)[0], 5'000);
}

}  // namespace
}  // namespace fusegrid
