#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/fusion_input.h"
#include "methods/planted.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::ada_svd_test {
namespace {

// One layer y = W x: the shares are softmax of |V^T x| with a gate of full rank, which is |x| where tau is regular, and
// of one direction otherwise.
TEST(AdaSvd, adds_the_task_vectors_by_their_mean_shares) {
  const at::Tensor table = random_matrix(1, 12, 4);
  TestZoo zoo = table_zoo({table, {"fc"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                             return apply(Layer("fc"), w, x, pass);
                           }});
  const at::Tensor base = random_matrix(2, 3, 4);
  const at::Tensor input = random_matrix(3, 4, 1);
  const std::vector<at::Tensor> taus{at::matmul(random_matrix(4, 3, 1), input.t()), random_matrix(5, 3, 4)};
  zoo.base = {{"fc.weight", base}};
  for (int64_t i = 0; i < 2; ++i) {
    zoo.tasks.push_back("task" + std::to_string(i));
    zoo.experts.push_back({{"fc.weight", base + taus[static_cast<size_t>(i)]}});
    std::vector<int64_t> rows;
    for (int64_t row = 6 * i; row < 6 * i + 6; ++row) {
      rows.push_back(row);
    }
    zoo.data.set(zoo.tasks.back(), "train", images_of_rows(rows));
  }
  const at::Tensor x = table.to(at::kDouble);
  const at::Tensor unit = (input / input.norm()).to(at::kDouble);
  const at::Tensor row_space = std::get<0>(at::linalg_qr(taus[1].t().to(at::kDouble)));
  const at::Tensor answers =
      at::stack({at::matmul(x, unit).abs().squeeze(1), at::matmul(x, row_space).norm(2, {1})}, 1);
  const at::Tensor shares = at::softmax(answers, 1).mean(0);
  const at::Tensor expected = base + (taus[0] * shares[0] + taus[1] * shares[1]) * 2;
  expect_close(zoo.fuse("ada_svd{factor=2}").weights.at("fc.weight"), expected, 2e-6);
}

TEST(AdaSvd, leaves_layers_that_no_task_reads) {
  const at::Tensor table = random_matrix(1, 12, 4);
  TestZoo zoo =
      table_zoo({table, {"fc", "idle"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                   return apply(Layer("fc"), w, x, pass);
                 }});
  zoo.base = {{"fc.weight", random_matrix(2, 3, 4)}, {"idle.weight", random_matrix(3, 3, 4)}};
  zoo.tasks = {"task0"};
  zoo.experts = {{{"fc.weight", random_matrix(4, 3, 4)}, {"idle.weight", random_matrix(5, 3, 4)}}};
  zoo.data.set("task0", "train", images_of_rows({0, 1, 2, 3}));
  const Weights merged = zoo.fuse("ada_svd").weights;
  expect_close(merged.at("fc.weight"), zoo.experts[0].at("fc.weight"), 1e-6);
  expect_close(merged.at("idle.weight"), zoo.base.at("idle.weight"), 0);
}

TEST(AdaSvd, of_one_expert_moves_its_layers_alone) {
  const TestZoo zoo = random_zoo(1);
  const Weights merged = zoo.fuse("ada_svd{examples=8}").weights;
  std::set<std::string> layers;
  for (const Layer& layer : zoo.network->architecture->layers()) {
    layers.insert(layer.weight);
    layers.insert(layer.bias);
  }
  for (const auto& [name, tensor] : merged) {
    const Weights& from = layers.contains(name) ? zoo.experts[0] : zoo.base;
    if (tensor.is_floating_point()) {
      expect_close(tensor, from.at(name), 2e-7);
    }
  }
  expect_close(zoo.fuse("ada_svd{examples=8,average_others=true}").weights, zoo.experts[0], 2e-7);
}

TEST(AdaSvd, shares_of_equal_experts_are_equal) {
  TestZoo zoo = random_zoo(2);
  zoo.experts[1] = zoo.experts[0];
  expect_close(zoo.fuse("ada_svd{average_others=true}").weights, zoo.experts[0], 2e-7);
}

}  // namespace
}  // namespace fusegrid::ada_svd_test
