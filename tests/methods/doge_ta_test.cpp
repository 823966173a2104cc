#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::doge_ta_test {
namespace {

TEST(DogeTa, equals_fusion_bench) {
  expect_close(golden_zoo().fuse("doge_ta").weights, read_golden("doge_ta__default").tensors, 1.2e-7);
}

TEST(DogeTa, without_steps_and_trimming_adds_task_vectors_of_equal_length) {
  const std::vector<at::Tensor> taus{random_matrix(3, 4, 5), random_matrix(4, 4, 5) * 7};
  const Weights merged = matrix_zoo(taus).fuse("doge_ta{steps=0,density=1,scale=0.5}").weights;
  const at::Tensor expected = taus[0] * (0.5 / taus[0].norm()) + taus[1] * (0.5 / taus[1].norm());
  expect_close(merged.at("fc.weight"), expected, 1e-6);
}

// The loss that its steps lower: sum_j sum_rows (sum_columns tau_j (tau_j - merged))^2.
TEST(DogeTa, steps_lower_the_conflict_of_the_task_vectors) {
  const std::vector<at::Tensor> taus{random_matrix(3, 6, 5), random_matrix(4, 6, 5)};
  const TestZoo zoo = matrix_zoo(taus);
  const auto conflict = [&](const std::string& steps) {
    const at::Tensor merged =
        zoo.fuse("doge_ta{density=1,scale=1,lr=0.01,steps=" + steps + "}").weights.at("fc.weight");
    double sum = 0;
    for (const at::Tensor& tau : taus) {
      sum += (tau * (tau - merged)).sum(1).square().sum().item<double>();
    }
    return sum;
  };
  EXPECT_LT(conflict("200"), 0.9 * conflict("0"));
}

TEST(DogeTa, leaves_everything_but_linear_weights_to_the_base) {
  const TestZoo zoo = random_zoo(2);
  const Weights merged = zoo.fuse("doge_ta{steps=2}").weights;
  int64_t changed = 0;
  for (const auto& [name, tensor] : zoo.base) {
    const bool same = merged.at(name).equal(tensor);
    const bool linear = name.ends_with("proj.weight") || name.find("fc1.weight") != std::string::npos ||
                        name.find("fc2.weight") != std::string::npos;
    EXPECT_EQ(same, !linear) << name;
    changed += same ? 0 : 1;
  }
  EXPECT_EQ(changed, 12);
}

}  // namespace
}  // namespace fusegrid::doge_ta_test
