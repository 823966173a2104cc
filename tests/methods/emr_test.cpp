#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::emr_test {
namespace {

// Weights of one task out of the predictor's "<task>/<tensor>".
Weights of_task(const Merged& merged, const std::string& task) {
  return Golden{merged.weights, {}}.under(task);
}

std::map<std::string, double> rescalers(const Merged& merged) {
  std::map<std::string, double> values;
  for (const std::string& part : split(merged.facts.at("rescalers"), ' ')) {
    const auto equals = part.find('=');
    values[part.substr(0, equals)] = parse_double(part.substr(equals + 1), "rescaler");
  }
  return values;
}

TestZoo line_zoo(const std::vector<at::Tensor>& task_vectors) {
  TestZoo zoo = random_zoo(task_vectors.size());
  zoo.base = {{"w", at::zeros_like(task_vectors[0])}};
  for (size_t i = 0; i < task_vectors.size(); ++i) {
    zoo.experts[i] = {{"w", task_vectors[i]}};
  }
  return zoo;
}

TEST(Emr, per_tensor_equals_fusion_bench) {
  const Golden golden = read_golden("emr__variant_a");
  const Merged merged = golden_zoo().fuse("emr{rescaler=per_tensor}");
  for (int64_t i = 0; i < 4; ++i) {
    const std::string task = "expert" + std::to_string(i);
    EXPECT_NEAR(rescalers(merged).at(task), golden.tensors.at("rescalers")[i].item<double>(), 1e-7);
    expect_close(of_task(merged, task), golden.under(task), 3e-7);
  }
}

TEST(Emr, global_equals_the_definition) {
  const Golden golden = read_golden("emr__variant_b");
  const Merged merged = golden_zoo().fuse("emr{rescaler=global}");
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(rescalers(merged).at("expert" + std::to_string(i)),
                golden.tensors.at("rescalers")[i].item<double>(), 1e-7);
  }
  expect_close(of_task(merged, "expert0"), golden.under("expert0"), 3e-7);
}

TEST(Emr, of_one_expert_or_equal_experts_is_exact) {
  TestZoo zoo = random_zoo(1);
  expect_close(of_task(zoo.fuse("emr"), "task0"), zoo.experts[0], 1.2e-7);
  zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  for (const std::string& task : zoo.tasks) {
    expect_close(of_task(zoo.fuse("emr"), task), zoo.experts[0], 1.2e-7);
  }
}

TEST(Emr, of_experts_that_moved_different_entries_is_exact) {
  const TestZoo zoo =
      line_zoo({at::tensor({1.0F, -2.0F, 0.0F, 0.0F}), at::tensor({0.0F, 0.0F, 3.0F, -0.5F})});
  const Merged merged = zoo.fuse("emr");
  EXPECT_EQ(rescalers(merged), (std::map<std::string, double>{{"task0", 1}, {"task1", 1}}));
  expect_close(of_task(merged, "task0"), zoo.experts[0], 0);
  expect_close(of_task(merged, "task1"), zoo.experts[1], 0);
}

TEST(Emr, keeps_the_l1_norm_of_each_task_vector) {
  const TestZoo zoo = random_zoo(3);
  const Merged merged = zoo.fuse("emr");
  for (size_t i = 0; i < 3; ++i) {
    double own = 0;
    double restored = 0;
    for (const auto& [name, tensor] : of_task(merged, zoo.tasks[i])) {
      if (tensor.is_floating_point()) {
        own += (zoo.experts[i].at(name) - zoo.base.at(name)).abs().sum(at::kDouble).item<double>();
        restored += (tensor - zoo.base.at(name)).abs().sum(at::kDouble).item<double>();
      }
    }
    EXPECT_NEAR(restored / own, 1, 1e-5);
  }
}

// sum_i |tau_i - M_i uni|^2 <= sum_i |tau_i - uni|^2: what the masks gain. (That rescaling gains more is not
// true.)
TEST(Emr, masks_bring_the_unified_vector_closer) {
  const TestZoo zoo = random_zoo(4);
  const Merged merged = zoo.fuse("emr");
  const auto lambda = rescalers(merged);
  const std::string name = "vision_model.encoder.layers.1.mlp.fc2.weight";
  std::vector<at::Tensor> masked;  // M_i uni
  for (const std::string& task : zoo.tasks) {
    masked.push_back((of_task(merged, task).at(name) - zoo.base.at(name)) / lambda.at(task));
  }
  at::Tensor unified = masked[0];
  for (const at::Tensor& part : masked) {
    unified = at::where(unified == 0, part, unified);
  }
  double with_masks = 0;
  double without = 0;
  for (size_t i = 0; i < 4; ++i) {
    const at::Tensor tau = zoo.experts[i].at(name) - zoo.base.at(name);
    with_masks += (tau - masked[i]).square().sum().item<double>();
    without += (tau - unified).square().sum().item<double>();
  }
  EXPECT_LT(with_masks, without);
}

TEST(Emr, elects_signs_and_the_largest_agreeing_entry) {
  const TestZoo zoo = line_zoo({at::tensor({1.0F, -1.0F, 2.0F}), at::tensor({2.0F, 3.0F, -2.0F})});
  const Merged merged = zoo.fuse("emr");  // uni = (2, 3, -2): a sum of zero counts as minus
  const auto lambda = rescalers(merged);
  EXPECT_NEAR(lambda.at("task0"), 4.0 / 2, 1e-7);
  EXPECT_NEAR(lambda.at("task1"), 7.0 / 7, 1e-7);
  expect_close(of_task(merged, "task0").at("w"), at::tensor({4.0F, 0.0F, 0.0F}), 1e-6);
  expect_close(of_task(merged, "task1").at("w"), at::tensor({2.0F, 3.0F, -2.0F}), 1e-6);
}

TEST(Emr, of_an_expert_that_did_not_move_is_the_base) {
  TestZoo zoo = random_zoo(2);
  zoo.experts[1] = zoo.base;
  const Merged merged = zoo.fuse("emr");
  EXPECT_EQ(rescalers(merged).at("task1"), 1);
  EXPECT_EQ(digest(of_task(merged, "task1")), digest(zoo.base));
}

TEST(Emr, follows_a_common_factor_and_a_flip_of_signs) {
  const at::Tensor a = at::tensor({1.0F, -2.0F, 0.5F});
  const at::Tensor b = at::tensor({3.0F, 1.0F, -0.25F});
  const Weights once = of_task(line_zoo({a, b}).fuse("emr"), "task0");
  expect_close(of_task(line_zoo({a * 4, b * 4}).fuse("emr"), "task0").at("w"), once.at("w") * 4, 1e-6);
  expect_close(of_task(line_zoo({-a, -b}).fuse("emr"), "task0").at("w"), -once.at("w"), 1e-6);
}

TEST(Emr, stores_two_models_a_bit_per_entry_and_task_and_the_rescalers) {
  const TestZoo zoo =
      line_zoo({at::tensor({1.0F, 2.0F}), at::tensor({1.0F, 2.0F}), at::tensor({1.0F, 2.0F})});
  EXPECT_DOUBLE_EQ(zoo.fuse("emr").stored_parameters, 2 * 2 + 3 * (2.0 / 32 + 1));
}

}  // namespace
}  // namespace fusegrid::emr_test
