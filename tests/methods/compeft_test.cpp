#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::compeft_test {
namespace {

// Source of truth: the independent numpy computation compeft_by_definition of the golden script.
TEST(Compeft, equals_its_definition) {
  expect_golden(golden_zoo(), "compeft{density=0.2,scale=1}", "compeft__std", 1.2e-7);
  expect_golden(golden_zoo(), "compeft{density=0.5,magnitude=mean,scale=0.5}", "compeft__mean", 1.2e-7);
}

TEST(Compeft, keeps_signs_only) {
  const TestZoo zoo = line_zoo({{1, -2, 0, 3, -4, 6}});
  // kept at density 0.5: int(3) + 1 entries; their mean magnitude is 15 / 4
  expect_line(merged_task_vector(zoo, "compeft{density=0.5,magnitude=mean,scale=1}"),
              {0, -3.75, 0, 3.75, -3.75, 3.75});
}

TEST(Compeft, of_entries_of_one_size_is_task_arithmetic) {
  const TestZoo zoo = line_zoo({{0.5F, -0.5F, 0.5F}, {0.25F, 0.25F, -0.25F}});
  expect_close(zoo.fuse("compeft{density=1,magnitude=mean,scale=0.4}").weights,
               zoo.fuse("task_arithmetic{scale=0.4}").weights, 2e-7);
}

TEST(Compeft, of_one_tensor_is_bitdelta) {
  const TestZoo zoo = line_zoo({{1, -2, 4, 3}});
  const at::Tensor bits = zoo.fuse("bitdelta{tensors=all}").weights.at("task0/w");
  expect_close(zoo.fuse("compeft{density=1,magnitude=mean,scale=1}").weights.at("w"), bits, 1e-6);
}

TEST(Compeft, shares_thresholds_and_direction_between_all_scales) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string scale : {"0.1", "0.2", "0.7"}) {
    zoo.fuse("compeft{scale=" + scale + "}");
  }
  EXPECT_EQ(zoo.cache->computed().size(), 3U);  // thresholds, sizes, direction
  for (const auto& [key, count] : zoo.cache->computed()) {
    EXPECT_EQ(count, 1) << key;
  }
}

}  // namespace
}  // namespace fusegrid::compeft_test
