#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::localize_and_stitch_trained_test {
namespace {

double density(const Merged& merged, const std::string& task) {
  const std::string& text = merged.facts.at("densities");
  const size_t begin = text.find(task + "=") + task.size() + 1;
  return parse_double(text.substr(begin, text.find(' ', begin) - begin), "density");
}

// logits = W x; the descent written out in float64.
TEST(LocalizeAndStitchTrained, trains_its_mask_by_gradient_descent) {
  const at::Tensor table = normal(1, 0, 0, 12).view({4, 3});
  TestZoo zoo = table_zoo({table, {}, [](const Weights& w, const at::Tensor& rows, const Pass&) {
                             return lifted(at::matmul(rows, w.at("W").t()));
                           }});
  const at::Tensor base = normal(2, 0, 0, 12).view({4, 3});
  const at::Tensor tau = normal(3, 0, 0, 12).view({4, 3});
  Examples examples = images_of_rows({0, 1, 2, 3});
  examples.labels = at::tensor({0, 3, 1, 3}, at::kLong);
  zoo.base = {{"W", base}};
  zoo.tasks = {"task"};
  zoo.experts = {{{"W", base + tau}}};
  zoo.network->readouts["task"] = lifted_readout(at::eye(4));
  zoo.data.set("task", "train", examples);

  const at::Tensor x = table.to(at::kDouble);
  const at::Tensor exact = (base + tau).to(at::kDouble) - base.to(at::kDouble);
  const at::Tensor threshold = std::get<0>(exact.abs().view({-1}).sort())[12 - 6];
  at::Tensor logits = at::where(exact.abs() > threshold, 1.0, -1.0);
  const at::Tensor start = logits.clone();
  for (int step = 0; step < 4; ++step) {
    const at::Tensor mask = at::sigmoid(logits);
    const at::Tensor weight = base.to(at::kDouble) + mask * exact;
    const at::Tensor error = at::log_softmax(at::matmul(x, weight.t()), 1).exp() -
                             at::eye(4, at::kDouble).index_select(0, examples.labels);
    const at::Tensor gradient = at::matmul(error.t(), x) / 4;
    logits = logits - (gradient * exact * 20 + 0.5) * mask * (1 - mask);
  }
  EXPECT_FALSE((logits > 0).equal(start > 0)) << "the mask has changed";
  EXPECT_GT(logits.abs().min().item<double>(), 1e-3) << "and no entry is near the edge";
  const Merged merged =
      zoo.fuse("localize_and_stitch_trained{density=0.5,bias=1,lr=20,l1=0.5,steps=4,batch=3,examples=4}");
  const at::Tensor mask = (logits > 0).to(at::kFloat);
  expect_close(merged.weights.at("W"), base + tau * mask, 1e-6);
  EXPECT_NEAR(density(merged, "task"), mask.mean().item<double>(), 1e-6);
}

TEST(LocalizeAndStitchTrained, without_steps_is_the_dataless_variant) {
  const TestZoo zoo = random_zoo(3);
  EXPECT_EQ(digest(zoo.fuse("localize_and_stitch_trained{density=0.2,steps=0}").weights),
            digest(zoo.fuse("localize_and_stitch{density=0.2}").weights));
}

TEST(LocalizeAndStitchTrained, drops_everything_under_a_strong_penalty) {
  const TestZoo zoo = random_zoo(2);
  const Merged merged =
      zoo.fuse("localize_and_stitch_trained{density=0.5,bias=1,lr=0,l1=100,steps=2,examples=4}");
  EXPECT_EQ(density(merged, "task0"), 0);
  EXPECT_EQ(digest(merged.weights), digest(zoo.base));
}

TEST(LocalizeAndStitchTrained, is_refused_for_an_expert_without_a_task) {
  TestZoo zoo = random_zoo(2);
  zoo.owners = {{"task0", "task0"}};
  EXPECT_THROW(zoo.fuse("localize_and_stitch_trained"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::localize_and_stitch_trained_test
