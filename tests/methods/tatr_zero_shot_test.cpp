#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::tatr_zero_shot_test {
namespace {

TEST(TatrZeroShot, equals_its_definition) {
  expect_includes(golden_zoo().fuse("tatr_zero_shot{keep=0.8}").weights,
                  read_golden("tatr_zero_shot__keep08").tensors, 2e-7);
}

TEST(TatrZeroShot, drops_the_entries_where_the_task_vectors_meet_most) {
  const at::Tensor first = at::tensor({1.0F, 2.0F, 0.0F, 3.0F}).view({2, 2});
  const at::Tensor second = at::tensor({1.0F, 2.0F, 5.0F, 0.5F}).view({2, 2});
  const Weights merged = matrix_zoo({first, second}).fuse("tatr_zero_shot{scale=1,keep=0.75}").weights;
  expect_close(merged.at("fc.weight"), at::tensor({2.0F, 0.0F, 5.0F, 3.5F}).view({2, 2}), 0);
}

TEST(TatrZeroShot, of_one_expert_or_of_the_whole_model_is_the_base_method) {
  for (const auto& [experts, keep] : {std::pair<size_t, std::string>{1, "0.5"}, {3, "1"}}) {
    const TestZoo zoo = random_zoo(experts);
    for (const std::string base : {"task_arithmetic", "ties"}) {
      EXPECT_EQ(digest(zoo.fuse("tatr_zero_shot{base=" + base + ",keep=" + keep + "}").weights),
                digest(zoo.fuse(base + "{scale=0.3}").weights));
    }
  }
}

}  // namespace
}  // namespace fusegrid::tatr_zero_shot_test
