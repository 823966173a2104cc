#include "fusion/passes/order_statistics.h"

#include <algorithm>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid::order_statistics_test {
namespace {

constexpr int64_t kElements = 10 * kSampledElements + 77;  // so many that a sample is taken
constexpr int64_t kStride = 8;                             // of that

// One model of two tensors with the given entries.
struct Model {
  explicit Model(const at::Tensor& entries) {
    const int64_t half = entries.numel() / 2;
    weights = {{"a", entries.narrow(0, 0, half)}, {"b", entries.narrow(0, half, entries.numel() - half)}};
  }
  // The k-th smallest magnitude, and how many entries all passes together looked at.
  std::pair<float, int64_t> find(int64_t k) {
    StatisticsCache cache(0, "", at::kCPU);
    MemoryEngine engine(none, {&weights}, "model", cache, [] {});
    int64_t seen = 0;
    const auto found = kth_smallest(engine, Order::kMagnitudes, 1, {k}, [&](const Slice& slice) {
      seen += slice.count;
      return slice.expert_views();
    });
    return {found.at(0).at(0), seen};
  }
  Weights none;
  Weights weights;
};

std::vector<float> sorted_magnitudes(const at::Tensor& entries) {
  const at::Tensor all = entries.abs();
  std::vector<float> sorted(all.const_data_ptr<float>(), all.const_data_ptr<float>() + all.numel());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

TEST(KthSmallest, needs_one_pass_and_a_sample_where_the_sample_is_like_the_model) {
  for (const at::Tensor& entries :
       {normal(1, 0, 0, kElements), (normal(1, 0, 0, kElements) * 3).round() / 3}) {
    Model model(entries);
    const auto sorted = sorted_magnitudes(entries);
    for (const double share : {0.2, 0.5, 0.8, 0.99}) {
      const auto k = static_cast<int64_t>(share * kElements);
      const auto [value, seen] = model.find(k);
      EXPECT_EQ(value, sorted[static_cast<size_t>(k - 1)]) << share;
      EXPECT_NEAR(static_cast<double>(seen), kElements * (1 + 2.0 / kStride), 4 * kSampleRun) << share;
    }
  }
}

TEST(KthSmallest, is_exact_where_the_sample_misleads) {
  at::Tensor entries = normal(2, 0, 0, kElements);
  for (const auto& [begin, count] : sampled_runs(0, kElements, kStride)) {
    entries.narrow(0, begin, count).mul_(1e-3);
  }
  Model model(entries);
  const auto sorted = sorted_magnitudes(entries);
  const int64_t k = kElements / 2;
  const auto [value, seen] = model.find(k);
  EXPECT_EQ(value, sorted[static_cast<size_t>(k - 1)]);
  EXPECT_GT(seen, 3 * kElements);  // two passes more
}

TEST(KthSmallest, finds_the_ends_and_zeros) {
  at::Tensor entries = normal(3, 0, 0, kElements);
  entries.narrow(0, 0, 8 * kSampledElements).zero_();
  Model model(entries);
  const auto sorted = sorted_magnitudes(entries);
  for (const int64_t k : {int64_t{1}, kElements / 2, kElements - 1, kElements}) {
    EXPECT_EQ(model.find(k).first, sorted[static_cast<size_t>(k - 1)]) << k;
  }
}

TEST(SampleStride, leaves_enough_of_small_models) {
  EXPECT_EQ(sample_stride(0), 1);
  EXPECT_EQ(sample_stride(2 * kSampledElements - 1), 1);
  EXPECT_EQ(sample_stride(2 * kSampledElements), 2);
  EXPECT_EQ(sample_stride(kElements), kStride);
  EXPECT_EQ(sample_stride(1000 * kSampledElements), kMostSampleStride);
}

TEST(SampledRuns, are_the_same_elements_however_a_model_is_cut) {
  const auto elements_of = [](int64_t begin, int64_t count, std::set<int64_t>& all) {
    for (const auto& [first, run] : sampled_runs(begin, count, kStride)) {
      EXPECT_LE(run, kSampleRun);
      for (int64_t i = 0; i < run; ++i) {
        EXPECT_TRUE(all.insert(first + i).second) << first + i;
      }
    }
  };
  constexpr int64_t kPeriods = 10;
  constexpr int64_t kCount = kPeriods * kSampleRun * kStride;
  std::set<int64_t> whole;
  elements_of(0, kCount, whole);
  EXPECT_EQ(static_cast<int64_t>(whole.size()), kPeriods * kSampleRun);
  std::set<int64_t> cut;
  for (int64_t begin = 0; begin < kCount; begin += 777) {
    elements_of(begin, std::min<int64_t>(777, kCount - begin), cut);
  }
  EXPECT_EQ(cut, whole);
}

}  // namespace
}  // namespace fusegrid::order_statistics_test
