#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::pcb_test {
namespace {

// Source of truth: the independent numpy computation pcb_by_definition of the golden script.
TEST(Pcb, equals_its_definition) {
  expect_golden(golden_zoo(), "pcb{density=0.1,scale=1.2}", "pcb__density01", 1.2e-7);
  expect_golden(golden_zoo(), "pcb{density=0.6,scale=1}", "pcb__density06", 1.2e-7);
}

// The largest entry on which both agree has the whole weight (and, as an outlier, the second largest magnitude);
// where they fight equally hard nothing survives.
TEST(Pcb, lets_agreeing_large_entries_win) {
  const TestZoo zoo = line_zoo({{4, 1, 2, 0, 0.5F, 0.125F}, {4, 1, -2, 0, 0.5F, -0.125F}});
  expect_line(merged_task_vector(zoo, "pcb{density=0.2,scale=1}"), {2, 0, 0, 0, 0, 0});
  const at::Tensor more = merged_task_vector(zoo, "pcb{density=0.5,scale=1}");
  EXPECT_NEAR(more[1].item<double>(), 1, 1e-6);  // both have the same weight there
  EXPECT_EQ(more[2].item<double>(), 0);
}

TEST(Pcb, scales_the_part_of_each_task_by_its_weight) {
  const TestZoo zoo = random_zoo(2);
  const Weights both = zoo.fuse("pcb{density=0.5,scale=1,weights=2:3}").weights;
  const Weights first = zoo.fuse("pcb{density=0.5,scale=1,weights=1:0}").weights;
  const Weights second = zoo.fuse("pcb{density=0.5,scale=1,weights=0:1}").weights;
  for (const auto& [name, base] : zoo.base) {
    if (base.is_floating_point()) {
      expect_close(both.at(name) - base, (first.at(name) - base) * 2 + (second.at(name) - base) * 3, 1e-6);
    }
  }
  EXPECT_THROW(zoo.fuse("pcb{weights=1:2:3}"), ConfigError);
}

TEST(Pcb, lies_between_the_experts) {
  const TestZoo zoo = random_zoo(2);
  const Weights merged = zoo.fuse("pcb{density=0.5,scale=1}").weights;
  for (const auto& [name, tensor] : merged) {
    if (tensor.is_floating_point()) {  // a weighted mean of task vectors, or no weight at all
      const at::Tensor a = zoo.experts[0].at(name) - zoo.base.at(name);
      const at::Tensor b = zoo.experts[1].at(name) - zoo.base.at(name);
      const at::Tensor step = (tensor - zoo.base.at(name)).abs();
      EXPECT_TRUE((step <= a.abs().max() + b.abs().max()).all().item<bool>()) << name;
    }
  }
}

TEST(Pcb, of_one_expert_keeps_its_largest_entries) {
  const TestZoo zoo = random_zoo(1);
  const Weights merged = zoo.fuse("pcb{density=0.2,scale=1}").weights;
  int64_t kept = 0;
  int64_t total = 0;
  for (const auto& [name, tensor] : merged) {
    if (tensor.is_floating_point()) {
      kept += (tensor != zoo.base.at(name)).sum().item<int64_t>();
      total += tensor.numel();
    }
  }
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(total), 0.2, 0.005);
}

TEST(Pcb, shares_everything_between_all_scales) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string scale : {"0.1", "0.2", "0.7"}) {
    zoo.fuse("pcb{scale=" + scale + "}");
  }
  EXPECT_EQ(zoo.cache->computed().size(), 3U);  // two pairs of bounds, one direction
  for (const auto& [key, count] : zoo.cache->computed()) {
    EXPECT_EQ(count, 1) << key;
  }
}

}  // namespace
}  // namespace fusegrid::pcb_test
