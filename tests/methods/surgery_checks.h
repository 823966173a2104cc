// What holds for surgery of the features alone and of every block.
#pragma once

#include <string>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid {

inline Weights adapters_of(const Merged& merged) {
  Weights adapters;
  for (const auto& [name, tensor] : merged.weights) {
    if (name.starts_with("adapter/")) {
      adapters.emplace(name, tensor);
    }
  }
  return adapters;
}

inline Weights merged_part(const Merged& merged) {
  Weights weights = merged.weights;
  std::erase_if(weights, [](const auto& entry) { return entry.first.starts_with("adapter/"); });
  return weights;
}

inline void expect_surgery_without_steps_changes_nothing(const std::string& method) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged merged = zoo.fuse(method + "{steps=0,rank=2}");
  const Weights arithmetic = zoo.fuse("task_arithmetic{scale=0.3}").weights;
  for (const std::string& task : zoo.tasks) {
    EXPECT_TRUE(zoo.logits(merged, task).equal(zoo.logits_of(arithmetic, task)));
  }
}

inline void expect_surgery_leaves_the_merged_model_alone(const std::string& method) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const auto merged = [&](const std::string& options) {
    return digest(merged_part(zoo.fuse(method + "{steps=2,batch=4," + options + "}")));
  };
  const auto plain = [&](const std::string& call) { return digest(zoo.fuse(call).weights); };
  EXPECT_EQ(merged("scale=0.2"), plain("task_arithmetic{scale=0.2}"));
  EXPECT_EQ(merged("merge=ties,scale=0.4"), plain("ties{scale=0.4}"));
  EXPECT_EQ(merged("merge=simple_average"), plain("simple_average"));
  EXPECT_EQ(merged("merge=layer_wise_adamerging,merge_steps=2"),
            plain("layer_wise_adamerging{steps=2,batch=4}"));
}

inline void expect_surgery_of_a_task_to_see_its_inputs_alone(const std::string& method) {
  TestZoo zoo = random_zoo(2, 0.3);
  const Weights before = adapters_of(zoo.fuse(method + "{steps=3,batch=4,rank=2}"));
  Examples others = zoo.data.examples("task1", "test", -1);
  others.inputs.images = 255 - others.inputs.images;
  zoo.data.set("task1", "test", others);
  for (const auto& [name, tensor] : adapters_of(zoo.fuse(method + "{steps=3,batch=4,rank=2}"))) {
    EXPECT_EQ(tensor.equal(before.at(name)), name.starts_with("adapter/task0/")) << name;
  }
}

inline void expect_surgery_has_no_answer_to_unseen_tasks(const std::string& method) {
  const TestZoo zoo = random_zoo(2);
  const Merged merged = zoo.first(1).fuse(method + "{steps=0}");
  EXPECT_THAT([&] { zoo.logits(merged, "task1"); },
              testing::ThrowsMessage<ConfigError>(testing::HasSubstr("task 'task1'")));
}

inline int64_t numbers_in(const Weights& weights) {
  int64_t numbers = 0;
  for (const auto& [name, tensor] : weights) {
    numbers += tensor.numel();
  }
  return numbers;
}

}  // namespace fusegrid
