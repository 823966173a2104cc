#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::individual_test {
namespace {

TEST(Individual, answers_each_task_by_its_expert) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("individual");
  for (size_t i = 0; i < 3; ++i) {
    const at::Tensor answer = zoo.logits(merged, zoo.tasks[i]);
    EXPECT_TRUE(answer.equal(zoo.logits_of(zoo.experts[i], zoo.tasks[i]))) << zoo.tasks[i];
  }
  EXPECT_DOUBLE_EQ(merged.stored_parameters, 3.0 * static_cast<double>(num_parameters(zoo.base)));
}

TEST(Individual, answers_a_task_by_the_expert_that_owns_it) {
  TestZoo zoo = random_zoo(3);
  zoo.owners = {{"task0", "task0"}, {"task2", "task0"}};
  const Merged merged = zoo.fuse("individual");
  for (const std::string task : {"task0", "task2"}) {
    EXPECT_TRUE(zoo.logits(merged, task).equal(zoo.logits_of(zoo.experts[0], task))) << task;
  }
  EXPECT_THROW(zoo.logits(merged, "task1"), ConfigError) << "nobody owns it";
}

TEST(Individual, refuses_a_task_without_expert_and_a_caller_without_task) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.first(2).fuse("individual");
  EXPECT_THROW(zoo.logits(merged, "task2"), ConfigError);
  const Inputs ready = zoo.network->ready(zoo.data.examples("task0", "test", 2).inputs);
  EXPECT_THROW(merged.model->predictor->output(*zoo.network, ready, {"task0", std::nullopt}), AccessError);
}

}  // namespace
}  // namespace fusegrid::individual_test
