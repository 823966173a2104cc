#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::nearswap_test {
namespace {

TEST(Nearswap, equals_mergekit) {
  expect_golden(golden_zoo().first(1), "nearswap{t=0.01}", "nearswap__mergekit_default", 1.2e-7);
}

TEST(Nearswap, clips_the_task_vector) {
  const TestZoo zoo = line_zoo({{0.5F, -0.25F, 0.125F, 0, -2}});
  expect_line(merged_task_vector(zoo, "nearswap{t=0.25}"), {0.25, -0.25, 0.125, 0, -0.25});
}

TEST(Nearswap, goes_from_the_base_to_the_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("nearswap{t=0}").weights), digest(zoo.base));
  expect_close(zoo.fuse("nearswap{t=1}").weights, zoo.experts[0], 1.5e-7);
}

}  // namespace
}  // namespace fusegrid::nearswap_test
