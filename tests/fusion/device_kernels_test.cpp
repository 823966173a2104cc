// The kernels beside the CPU's loops, bit by bit. Needs an NVIDIA GPU; skipped where there is none.
#include "fusion/device_kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/bit_counts.h"
#include "fusion/entry_loops.h"
#include "fusion/random_numbers.h"
#include "fusion/selection.h"
#include "worker/device.h"

namespace fusegrid {
namespace {

constexpr int64_t kCount = 100'003;
const std::vector<float> kNumbers{0.5F, 1.25F, 0.75F, 2.5F, 0.3F};

class DeviceKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (!device_kernels::kCompiled || choose_device("auto", 0, 1, HostDevices::here()).device == "cpu") {
      GTEST_SKIP() << "no kernels, or no GPU";
    }
    load_cuda();
  }
};

const at::Device kGpu(at::kCUDA, 0);

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
      all.back().drop = {i, 7, 0.4, 1.5};
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
    expect_equal("agreeing part", AgreeingPart{});
    expect_equal("added agreeing part", AddAgreeingPart{});
    expect_equal("changes", MeanOfChanges{0.6F});
    const DeviceVectors on_device(there, kNumbers);
    at::Tensor balance = at::zeros({1}, at::TensorOptions(kGpu).dtype(at::kLong));
    device_kernels::add_sign_balance(on_device.all, kCount, balance.mutable_data_ptr<int64_t>(),
                                     current_stream(kGpu).native_handle());
    EXPECT_EQ(balance.item<int64_t>(), apply_rule(here, kNumbers, TrimmedSum{}).sign().sum().item<int64_t>());
  }
}

TEST_F(DeviceKernels, count_what_the_loops_count) {
  const std::vector<SliceVector> here = vectors(true, false);
  const std::vector<SliceVector> there = on_gpu(here);
  for (const Order order : {Order::kValues, Order::kMagnitudes}) {
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
      std::vector<int64_t> counts(expected.size(), 0);
      on_device.move_to(counts.data());
      EXPECT_EQ(counts, expected) << low;
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
}  // namespace fusegrid
