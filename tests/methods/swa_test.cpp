#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::swa_test {
namespace {

TEST(Swa, of_all_checkpoints_is_their_average) {
  const TestZoo zoo = random_zoo(4);
  EXPECT_EQ(digest(zoo.fuse("swa").weights), digest(zoo.fuse("simple_average").weights));
  EXPECT_EQ(digest(zoo.fuse("swa{last=9}").weights), digest(zoo.fuse("simple_average").weights));
}

TEST(Swa, of_the_last_checkpoints_leaves_the_first_out) {
  const TestZoo zoo = random_zoo(4);
  EXPECT_EQ(digest(zoo.fuse("swa{last=1}").weights), digest(zoo.experts[3]));
  TestZoo last_two = zoo;
  last_two.tasks.erase(last_two.tasks.begin(), last_two.tasks.begin() + 2);
  last_two.experts.erase(last_two.experts.begin(), last_two.experts.begin() + 2);
  EXPECT_EQ(digest(zoo.fuse("swa{last=2}").weights), digest(last_two.fuse("simple_average").weights));
}

// W <- (n W + w) / (n + 1), checkpoint by checkpoint, as the paper has it.
TEST(Swa, is_the_running_mean_of_the_paper) {
  const TestZoo zoo = random_zoo(3);
  Weights running = zoo.experts[0];
  for (auto& [name, tensor] : running) {
    if (tensor.is_floating_point()) {
      for (size_t n = 1; n < zoo.experts.size(); ++n) {
        tensor = (tensor * static_cast<double>(n) + zoo.experts[n].at(name)) / static_cast<double>(n + 1);
      }
    }
  }
  expect_close(zoo.fuse("swa").weights, running, 2e-7);
}

}  // namespace
}  // namespace fusegrid::swa_test
