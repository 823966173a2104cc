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

namespace fusegrid::tatr_test {
namespace {

// logits = W x of a base and three experts. d loss / dW_jk = (p_j - 1[y = j]) x_k at the base.
TEST(Tatr, equals_the_closed_form_of_linear_models) {
  const at::Tensor table = normal(1, 0, 0, 36).view({12, 3});
  TestZoo zoo = table_zoo({table, {}, [](const Weights& w, const at::Tensor& rows, const Pass&) {
                             return lifted(at::matmul(rows, w.at("W").t()));
                           }});
  const at::Tensor base = normal(2, 0, 0, 12).view({4, 3});
  zoo.base = {{"W", base}};
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> taus;
  for (int64_t i = 0; i < 3; ++i) {
    const std::string task = "task" + std::to_string(i);
    taus.push_back(normal(3 + static_cast<uint64_t>(i), 0, 0, 12).view({4, 3}));
    zoo.tasks.push_back(task);
    zoo.experts.push_back({{"W", base + taus.back()}});
    zoo.network->readouts[task] = lifted_readout(at::eye(4));
    Examples examples = images_of_rows({4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3});
    examples.labels = at::tensor({0, 3, 1, 3}, at::kLong);
    zoo.data.set(task, "train", examples);
    const at::Tensor x = table.narrow(0, 4 * i, 4);
    const at::Tensor error =
        at::log_softmax(at::matmul(x, base.t()), 1).exp() - at::eye(4).index_select(0, examples.labels);
    gradients.push_back(at::matmul(error.abs().t(), x.abs()) / 4);
  }
  at::Tensor omega = at::zeros({4, 3});
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) {
      omega += i == j ? at::zeros({4, 3}) : gradients[i] * taus[j].abs();
    }
  }
  const double largest = std::get<0>(omega.view({-1}).sort())[6].item<double>();  // 7 of 12 stay
  const at::Tensor kept = (omega <= largest * (1 + 1e-4)).to(at::kFloat);
  EXPECT_EQ(kept.sum().item<double>(), 7);
  const at::Tensor expected = base + (taus[0] + taus[1] + taus[2]) * kept * 0.5;
  expect_close(zoo.fuse("tatr{scale=0.5,keep=0.6}").weights.at("W"), expected, 1e-6);
}

TEST(Tatr, of_one_expert_or_of_the_whole_model_is_the_base_method) {
  for (const auto& [experts, keep] : {std::pair<size_t, std::string>{1, "0.5"}, {3, "1"}}) {
    const TestZoo zoo = random_zoo(experts);
    EXPECT_EQ(digest(zoo.fuse("tatr{base=ties,examples=4,keep=" + keep + "}").weights),
              digest(zoo.fuse("ties{scale=0.3}").weights));
  }
}

}  // namespace
}  // namespace fusegrid::tatr_test
