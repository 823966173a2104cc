#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/map_golden.h"

namespace fusegrid::segment_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Segment, agrees_with_the_golden_values) {
  const nlohmann::json golden = dense_golden().at("segment");
  const auto kind = kind_of(map_task("segment", {{"ignore", 9}}), nullptr);
  expect_golden(golden, *kind, examples_with_maps(tensor_of(golden.at("maps")).to(at::kInt)),
                tensor_of(golden.at("output")).to(at::kFloat));
}

// Two images of 1 x 3 pixels and two classes.
at::Tensor two_maps() {
  return at::tensor({0, 1, 1, 0, 0, 7}, at::kInt).view({2, 1, 3});
}

TEST(Segment, its_rows_count_pixels_of_both_and_of_either_for_each_class) {
  const at::Tensor logits =
      at::tensor({1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0}).view({2, 1, 3, 2});
  const auto kind = kind_of(map_task("segment", {{"ignore", 7}}), nullptr);
  const Answers answers = answers_with_maps(*kind, examples_with_maps(two_maps()), logits);
  ASSERT_EQ(answers.outcomes.size(), 2U);
  EXPECT_EQ(answers.outcomes[0].width, 4);
  EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(1, 1, 2, 2, 1, 0, 2, 1));
  EXPECT_THAT(answers.outcomes[1].rows, ElementsAre(2, 3, 1, 2));
  EXPECT_DOUBLE_EQ(answers.metrics.at("mean_iou"), (2.0 / 4 + 1.0 / 3) / 2);
}

TEST(Segment, gives_pixels_that_do_not_count_no_gradient) {
  const auto kind = kind_of(map_task("segment", {{"ignore", 7}}), nullptr);
  at::Tensor logits = at::zeros({2, 1, 3, 2}).requires_grad_(true);
  kind->losses(logits, examples_with_maps(two_maps())).sum().backward();
  EXPECT_EQ(logits.grad()[1][0][2].abs().sum().item<float>(), 0);
  EXPECT_GT(logits.grad()[1][0][1].abs().sum().item<float>(), 0);
  const at::Tensor nothing_known = at::full({1, 1, 3}, 7, at::kInt);
  EXPECT_EQ(kind->losses(at::zeros({1, 1, 3, 2}), examples_with_maps(nothing_known)).item<float>(), 0);
}

TEST(Segment, has_a_distribution_for_each_pixel) {
  const TaskKind& kind = task_kind("segment");
  const at::Tensor log_p = kind.log_probabilities(at::zeros({2, 1, 3, 4}), {});
  EXPECT_EQ(log_p.sizes(), (std::vector<int64_t>{6, 4}));
  EXPECT_NEAR(mean_entropy(log_p).item<double>(), std::log(4), 1e-6);
  EXPECT_EQ(kind.outputs(5), 5);
}

TEST(Segment, refuses_a_map_of_another_size) {
  const Examples examples = examples_with_maps(two_maps());
  EXPECT_THAT(
      [&] {
        answers_with_maps(task_kind("segment"), examples, at::zeros({2, 2, 3, 2}));
      },
      testing::ThrowsMessage<DataError>(
          HasSubstr("a map of 1 x 3 pixels with 2 numbers each, but that of the task's head has 2 x 3 x 2")));
}

}  // namespace
}  // namespace fusegrid::segment_test
