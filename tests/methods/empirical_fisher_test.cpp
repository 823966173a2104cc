#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::empirical_fisher_test {
namespace {

// logits = W x of two experts, with labels. F_jk = mean over x of ((p_j - 1[y = j]) x_k)^2.
TEST(EmpiricalFisher, equals_the_closed_form_of_linear_models) {
  const at::Tensor table = normal(1, 0, 0, 24).view({8, 3});
  TestZoo zoo = table_zoo({table, {}, [](const Weights& w, const at::Tensor& rows, const Pass&) {
                             return lifted(at::matmul(rows, w.at("W").t()));
                           }});
  at::Tensor above = at::zeros({4, 3}, at::kDouble);
  at::Tensor below = at::zeros({4, 3}, at::kDouble);
  for (int64_t i = 0; i < 2; ++i) {
    const std::string task = "task" + std::to_string(i);
    const at::Tensor weight = normal(2 + static_cast<uint64_t>(i), 0, 0, 12).view({4, 3});
    zoo.tasks.push_back(task);
    zoo.experts.push_back({{"W", weight}});
    zoo.network->readouts[task] = lifted_readout(at::eye(4));
    Examples examples = images_of_rows({4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3});
    examples.labels = at::tensor({0, 3, 1, 3}, at::kLong);
    zoo.data.set(task, "train", examples);
    const at::Tensor x = table.narrow(0, 4 * i, 4).to(at::kDouble);
    const at::Tensor p = at::log_softmax(at::matmul(x, weight.to(at::kDouble).t()), 1).exp();
    const at::Tensor error = p - at::eye(4, at::kDouble).index_select(0, examples.labels);
    const at::Tensor fisher = at::matmul(error.square().t(), x.square()) / 4 + 1e-6;
    above += fisher * weight;
    below += fisher;
  }
  expect_close(zoo.fuse("empirical_fisher{normalize=false}").weights.at("W"), above / below, 1e-5);
}

TEST(EmpiricalFisher, of_equal_experts_is_that_expert) {
  TestZoo zoo = random_zoo(2);
  zoo.experts[1] = zoo.experts[0];
  expect_close(zoo.fuse("empirical_fisher{examples=8}").weights, zoo.experts[0], 2e-7);
}

TEST(EmpiricalFisher, depends_on_the_labels) {
  const TestZoo zoo = random_zoo(2);
  TestZoo relabelled = zoo;
  Examples examples = zoo.data.examples("task0", "train", -1);
  examples.labels = (examples.labels + 1).remainder(3);
  relabelled.data.set("task0", "train", examples);
  relabelled.cache = std::make_shared<StatisticsCache>(1 << 28, "", at::kCPU);
  EXPECT_NE(digest(zoo.fuse("empirical_fisher").weights),
            digest(relabelled.fuse("empirical_fisher").weights));
}

}  // namespace
}  // namespace fusegrid::empirical_fisher_test
