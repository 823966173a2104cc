#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/line_zoo.h"
#include "support/test_zoo.h"

namespace fusegrid::expo_test {
namespace {

TEST(Expo, equals_fusion_bench_of_one_and_of_several_models) {
  expect_golden(golden_zoo().first(1), "expo{alpha=0.3}", "expo__one", 1.2e-7);
  expect_golden(golden_zoo(), "expo{alpha=0.1}", "expo__four", 1.2e-7);
}

TEST(Expo, of_alpha_zero_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("expo{alpha=0}").weights, zoo.fuse("simple_average").weights, 3e-7);
}

TEST(Expo, goes_beyond_the_expert) {
  const TestZoo zoo = line_zoo({{1, -2, 0.5F}});
  expect_line(merged_task_vector(zoo, "expo{alpha=0.5}"), {1.5, -3, 0.75});
}

}  // namespace
}  // namespace fusegrid::expo_test
