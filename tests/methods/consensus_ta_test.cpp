#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::consensus_ta_test {
namespace {

// The golden masks are those of generate_task_masks and construct_consensus_mask in FusionBench, which have the
// authors' rule (its algorithm class does not: see tall_mask_test.cpp).
TEST(ConsensusTa, equals_fusion_benchs_masks) {
  for (const std::string vector : {"sum", "ties"}) {
    expect_golden(golden_zoo(), "consensus_ta{lambda=0.4,min_tasks=2,scale=0.3,vector=" + vector + "}",
                  "consensus_ta__" + vector, 1.2e-7);
  }
}

TEST(ConsensusTa, without_a_filter_is_task_arithmetic_or_ties) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("consensus_ta{min_tasks=0,scale=0.4}").weights,
               zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
  expect_close(zoo.fuse("consensus_ta{min_tasks=0,vector=ties,scale=0.4}").weights,
               zoo.fuse("ties{density=0.2,scale=0.4}").weights, 2e-7);
}

TEST(ConsensusTa, that_asks_more_tasks_than_there_are_is_the_base) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("consensus_ta{min_tasks=4}").weights), digest(zoo.base));
}

// Entry 0 is needed by both tasks, entry 1 by the first alone (selfish), entry 2 by none (they cancel out).
TEST(ConsensusTa, drops_selfish_and_catastrophic_entries) {
  const TestZoo zoo = line_zoo({{2, 3, 1}, {2, 0, -4}});
  // |tau_i| > 0.9 |tau - tau_i|: 2 > 1.8 twice; 3 > 0, not 0 > 2.7; 1 > 3.6 no, 4 > 0.9 yes
  expect_line(merged_task_vector(zoo, "consensus_ta{lambda=0.9,min_tasks=2,scale=1}"), {4, 0, 0});
  expect_line(merged_task_vector(zoo, "consensus_ta{lambda=0.9,min_tasks=1,scale=1}"), {4, 3, -3});
}

// FusionBench's error makes the masks nearly full: what is left is task arithmetic.
TEST(ConsensusTa, with_fusion_benchs_error_is_nearly_task_arithmetic) {
  const TestZoo zoo = line_zoo({{0.2F, 0.3F, 0.1F}, {0.2F, 0, -0.4F}});
  expect_line(merged_task_vector(zoo, "consensus_ta{compare=fusion_bench,scale=1}"), {0.4, 0.3, -0.3}, 1e-6);
}

}  // namespace
}  // namespace fusegrid::consensus_ta_test
