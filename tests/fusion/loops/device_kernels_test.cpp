// The kernels beside the CPU's loops, bit by bit. Needs an NVIDIA GPU; skipped where there is none.
#include "fusion/loops/device_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/loops/bit_counts.h"
#include "fusion/loops/entry_loops.h"
#include "fusion/loops/random_numbers.h"
#include "fusion/passes/selection.h"
#include "support/drop_masks.h"
#include "support/gpu.h"

namespace fusegrid::device_kernels_test {
namespace {

constexpr int64_t kCount = 100'003;
const std::vector<float> kNumbers{0.5F, 1.25F, 0.75F, 2.5F, 0.3F};

class DeviceKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (!device_kernels::kCompiled || !has_gpu()) {
      GTEST_SKIP() << "no kernels, or no GPU";
    }
  }
};

std::vector<SliceVector> on_gpu(const std::vector<SliceVector>& vectors) {
  std::vector<SliceVector> moved;
  for (const SliceVector& vector : vectors) {
    moved.emplace_back(vector.values.to(kGpu), vector.minus.defined() ? vector.minus.to(kGpu) : at::Tensor());
    moved.back().drop = vector.drop;
  }
  return moved;
}

// Coarse numbers beside dense ones, less a base.
std::vector<SliceVector> vectors(bool subtracted, bool dropped) {
  const at::Tensor base = normal(9, 0, 0, kCount);
  std::vector<SliceVector> all;
  for (uint64_t i = 0; i < kNumbers.size(); ++i) {
    const at::Tensor dense = normal(i, 0, 0, kCount);
    all.emplace_back(at::where(dense.abs() < 1, (dense * 2).round(), dense),
                     subtracted ? base : at::Tensor());
    if (dropped) {
      all.back().drop = {i, i % 2 == 0 ? 7 : 8, 0.4, 1.5};
    }
  }
  return all;
}

TEST_F(DeviceKernels, apply_rules_as_the_loops_do) {
  for (const auto& [subtracted, dropped] : {std::pair{false, false}, {true, false}, {true, true}}) {
    const std::vector<SliceVector> here = vectors(subtracted, dropped);
    const std::vector<SliceVector> there = on_gpu(here);
    const auto expect_equal = [&](const std::string& name, const auto& rule) {
      ASSERT_TRUE(rules_fit(there));
      EXPECT_TRUE(apply_rule(there, kNumbers, rule).cpu().equal(apply_rule(here, kNumbers, rule)))
          << name << subtracted << dropped;
    };
    expect_equal("sum", Sum{});
    expect_equal("weighted sum", WeightedSum{});
    expect_equal("sum of products", SumOfProducts{});
    expect_equal("largest", Largest{});
    expect_equal("agreeing, sum", MergeAgreeing<AgreeingMerge::kSum>{true});
    expect_equal("agreeing, mean", MergeAgreeing<AgreeingMerge::kMean>{false});
    expect_equal("agreeing, max", MergeAgreeing<AgreeingMerge::kMax>{true});
    expect_equal("agreeing, weighted", MergeAgreeingWeighted<false>{});
    expect_equal("agreeing, weighted mean", MergeAgreeingWeighted<true>{});
    expect_equal("changes", MeanOfChanges{0.6F});
    const DeviceVectors on_device(there, kNumbers);
    at::Tensor balance = at::zeros({1}, at::TensorOptions(kGpu).dtype(at::kLong));
    device_kernels::add_sign_balance(on_device.all, kCount, balance.mutable_data_ptr<int64_t>(),
                                     current_stream(kGpu).native_handle());
    EXPECT_EQ(balance.item<int64_t>(), apply_rule(here, kNumbers, TrimmedSum{}).sign().sum().item<int64_t>());
  }
}

TEST_F(DeviceKernels, apply_rules_to_each_vector_as_the_loops_do) {
  const at::Tensor unified = normal(20, 0, 0, kCount);
  const at::Tensor base = normal(21, 0, 0, kCount);
  for (const bool dropped : {false, true}) {
    const std::vector<SliceVector> here = vectors(true, dropped);
    const auto on_cpu = apply_rule_to_each(here, {unified, base}, kNumbers, AddAgreeingPart{});
    const auto there =
        apply_rule_to_each(on_gpu(here), {unified.to(kGpu), base.to(kGpu)}, kNumbers, AddAgreeingPart{});
    for (size_t i = 0; i < here.size(); ++i) {
      EXPECT_TRUE(there[i].cpu().equal(on_cpu[i])) << i << dropped;
    }
  }
}

TEST_F(DeviceKernels, drop_what_the_loops_drop) {
  for (const double rate : {0.0, 0.25, 0.3, 0.99999, 1.0}) {
    for (const int64_t begin : {int64_t{0}, int64_t{5}, int64_t{16}, (int64_t{1} << 35) + 1}) {
      SliceVector ones(at::ones({kCount}, at::TensorOptions(at::kFloat)));
      ones.drop = {3, begin, rate, 1.25};
      EXPECT_TRUE(on_gpu({ones})[0].tensor().cpu().equal(ones.tensor())) << rate << " from " << begin;
    }
  }
  // rates of entries' own numbers, which only their further bits tell apart
  for (const int64_t entry : {0, 5, 1'003}) {
    for (const double step : {-0x1p-40, 0.0, 0x1p-40}) {
      SliceVector one(at::ones({1}, at::TensorOptions(at::kFloat)));
      one.drop = {3, entry, drop_number(3, entry) + step, 1};
      EXPECT_TRUE(on_gpu({one})[0].tensor().cpu().equal(one.tensor())) << entry;
    }
  }
}

TEST_F(DeviceKernels, count_what_the_loops_count) {
  for (const auto& [order, dropped] :
       {std::pair{Order::kValues, false}, {Order::kMagnitudes, false}, {Order::kMagnitudes, true}}) {
    const std::vector<SliceVector> here = vectors(true, dropped);
    const std::vector<SliceVector> there = on_gpu(here);
    for (const bool low : {false, true}) {
      std::vector<CountRule> rules;
      std::vector<int64_t> expected(here.size() * kBins, 0);
      for (size_t i = 0; i < here.size(); ++i) {
        rules.push_back({order, low, low ? ordered_bits(0.5F * static_cast<float>(i), order) >> 16 : 0});
        const at::Tensor values = here[i].tensor();
        for (int64_t begin = 0; begin < kCount; begin += ChunkReader::kChunk) {
          count_chunk(values.const_data_ptr<float>() + begin, std::min(ChunkReader::kChunk, kCount - begin),
                      rules[i], &expected[i * kBins]);
        }
      }
      DeviceCounts on_device(rules);
      on_device.add(there);
      std::vector<int64_t> rows;
      std::vector<int64_t> groups(here.size() * 256, 0);
      for (size_t i = 0; i < here.size(); ++i) {
        rows.push_back(static_cast<int64_t>(i));
      }
      for (size_t bin = 0; bin < expected.size(); ++bin) {
        groups[bin / (kBins / 256)] += expected[bin];
      }
      EXPECT_EQ(on_device.bins(rows, kBins), expected) << low;
      EXPECT_EQ(on_device.group_sums(kBins / 256), groups) << low;
    }
  }
}

TEST_F(DeviceKernels, make_the_numbers_that_the_loops_make) {
  for (const int64_t begin : {0, 1, 4, 1'234'567}) {
    for (const int64_t count : {1, 3, 4, 1'000, 1'234'567}) {
      EXPECT_TRUE(uniform_on(kGpu, 5, 3, begin, count).cpu().equal(uniform(5, 3, begin, count))) << begin;
    }
  }
}

TEST_F(DeviceKernels, select_what_the_loops_select) {
  const at::Tensor values = vectors(false, false)[0].values;
  for (const int64_t k : {int64_t{1}, kCount / 3, kCount}) {
    EXPECT_EQ(kth_value(values.to(kGpu), k), kth_value(values, k));
    EXPECT_TRUE(largest_mask(values.abs().to(kGpu), k).cpu().equal(largest_mask(values.abs(), k)));
  }
}

}  // namespace
}  // namespace fusegrid::device_kernels_test
