#include "fusion/passes/election_counter.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/engines/memory_engine.h"
#include "fusion/whole_model/statistics_cache.h"

namespace fusegrid::election_counter_test {
namespace {

constexpr int64_t kElements = 6 * kSampledElements + 77;  // so many that a sample is taken
constexpr size_t kExperts = 5;

struct Models {
  std::vector<Weights> experts;

  // Entries of an expert are made from normal numbers by `shape`.
  explicit Models(const std::function<at::Tensor(const at::Tensor&)>& shape) {
    for (size_t i = 0; i < kExperts; ++i) {
      experts.push_back({{"w", shape(normal(i + 1, 0, 0, kElements))}});
    }
  }

  struct Outcome {
    std::vector<float> thresholds;
    std::optional<int64_t> balance;
  };
  // From one engine's pass, as methods do it.
  Outcome elect(double dropped, ElectionCounter& counter) const {
    std::vector<const Weights*> all;
    for (const Weights& expert : experts) {
      all.push_back(&expert);
    }
    const Weights none;
    StatisticsCache cache(0, "", at::kCPU);
    MemoryEngine engine(none, all, "models", cache, [] {});
    const auto k = static_cast<int64_t>(dropped * kElements);
    Outcome outcome;
    for (const auto& found :
         kth_smallest(engine, Order::kMagnitudes, kExperts, {k}, &Slice::expert_views, &counter)) {
      outcome.thresholds.push_back(found.front());
    }
    outcome.balance = counter.balance(outcome.thresholds, [](std::vector<int64_t>&) {});
    return outcome;
  }

  int64_t balance_one_by_one(const std::vector<float>& thresholds) const {
    std::vector<const float*> entries;
    for (const Weights& expert : experts) {
      entries.push_back(expert.at("w").const_data_ptr<float>());
    }
    int64_t balance = 0;
    for (int64_t i = 0; i < kElements; ++i) {
      float sum = 0;
      for (size_t vector = 0; vector < kExperts; ++vector) {
        sum += std::fabs(entries[vector][i]) < thresholds[vector] ? 0.0F : entries[vector][i];
      }
      balance += sum > 0 ? 1 : sum < 0 ? -1 : 0;
    }
    return balance;
  }
};

at::Tensor dense(const at::Tensor& values) {
  return values;
}

// Few different numbers, of which sums are often zero.
at::Tensor coarse(const at::Tensor& values) {
  return (values * 2).round() / 2;
}

TEST(ElectionCounter, counts_as_a_pass_of_its_own_would) {
  for (const auto& shape : {dense, coarse}) {
    const Models models(shape);
    for (const double dropped : {0.2, 0.5, 0.8, 0.999}) {
      ElectionCounter counter;
      const auto outcome = models.elect(dropped, counter);
      ASSERT_TRUE(outcome.balance.has_value()) << dropped;
      EXPECT_EQ(*outcome.balance, models.balance_one_by_one(outcome.thresholds)) << dropped;
    }
  }
}

// Steps of 1.25 % around the threshold: several of them are in the expected range, and entries of several vectors open.
TEST(ElectionCounter, settles_entries_that_wait_for_several_thresholds) {
  const Models models([](const at::Tensor& values) { return (values * 80).round() / 80; });
  ElectionCounter counter;
  const auto outcome = models.elect(0.5, counter);
  ASSERT_TRUE(outcome.balance.has_value());
  EXPECT_EQ(*outcome.balance, models.balance_one_by_one(outcome.thresholds));
  ElectionCounter forgetful(static_cast<int64_t>(kExperts));
  EXPECT_FALSE(models.elect(0.5, forgetful).balance.has_value());
}

TEST(ElectionCounter, cannot_tell_where_the_sample_misleads) {
  const Models models([](const at::Tensor& values) {
    at::Tensor misleading = values.clone();
    for (const auto& [begin, count] : sampled_runs(0, kElements, sample_stride(kElements))) {
      misleading.narrow(0, begin, count).mul_(1e-3);
    }
    return misleading;
  });
  ElectionCounter counter;
  EXPECT_FALSE(models.elect(0.5, counter).balance.has_value());
}

TEST(ElectionCounter, cannot_tell_without_a_pass) {
  const ElectionCounter counter;
  EXPECT_FALSE(counter.balance({1, 1}, [](std::vector<int64_t>&) { FAIL(); }).has_value());
}

}  // namespace
}  // namespace fusegrid::election_counter_test
