#include "fusion/loops/number_window.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

NumberRange range_between(float first, float last, Order order) {
  return {ordered_bits(first, order), ordered_bits(last, order)};
}

// How many values are below the range, and how often each number in it occurs.
std::vector<int64_t> counted_one_by_one(const at::Tensor& values, Order order, NumberRange range) {
  std::vector<int64_t> counts(range.steps() + 2, 0);
  const auto* data = values.const_data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const uint32_t bits = ordered_bits(data[i], order);
    if (bits < range.first) {
      ++counts[0];
    } else if (bits <= range.last) {
      ++counts[bits - range.first + 1];
    }
  }
  return counts;
}

std::vector<int64_t> counted(const at::Tensor& values, Order order, NumberRange range, int64_t part,
                             int64_t spill_after = UINT32_MAX) {
  NumberWindow window(order, range, spill_after);
  for (int64_t begin = 0; begin < values.numel(); begin += part) {
    window.add(values.const_data_ptr<float>() + begin, std::min(part, values.numel() - begin));
  }
  std::vector<int64_t> counts{window.below()};
  for (size_t position = 0; position <= range.steps(); ++position) {
    counts.push_back(window.count(position));
  }
  EXPECT_EQ(window.count(range.steps() + 1), 0);
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
      for (const auto& [first, last] : {std::pair{0.749F, 0.752F}, {0.75F, 0.75F}, {0.749F, 0.75F}}) {
        const NumberRange range = range_between(first, last, order);
        const auto expected = counted_one_by_one(values, order, range);
        EXPECT_GT(expected[0], 0);
        EXPECT_EQ(counted(values, order, range, 1'000), expected) << first;
      }
    }
    const NumberRange negative = range_between(-0.2505F, -0.2495F, Order::kValues);
    EXPECT_EQ(counted(values, Order::kValues, negative, 1'000),
              counted_one_by_one(values, Order::kValues, negative));
  }
}

TEST(NumberWindow, empties_its_narrow_counters_before_they_overflow) {
  for (const at::Tensor& values : dense_and_coarse()) {
    const NumberRange range = range_between(0.749F, 0.753F, Order::kMagnitudes);
    EXPECT_EQ(counted(values, Order::kMagnitudes, range, 1'000, 6'000),
              counted_one_by_one(values, Order::kMagnitudes, range));
  }
}

}  // namespace
}  // namespace fusegrid
