#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/map_golden.h"

namespace fusegrid::depth_test {
namespace {

using testing::ElementsAre;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(Depth, agrees_with_the_golden_values) {
  const nlohmann::json golden = dense_golden().at("depth");
  const auto kind = kind_of(map_task("depth", {{"mean", 2.5}, {"sd", 0.75}}), nullptr);
  const at::Tensor stored = tensor_of(golden.at("maps")).to(at::kFloat);
  expect_golden(golden, *kind, examples_with_maps(stored.where(stored > 0, at::full_like(stored, kNaN))),
                tensor_of(golden.at("output")).to(at::kFloat));
}

// One image of 1 x 3 pixels, of which the last is not known.
Examples one_map() {
  return examples_with_maps(at::tensor({2.0, 4.0, kNaN}).to(at::kFloat).view({1, 1, 3}));
}

TEST(Depth, is_in_metres_where_the_task_has_no_scale) {
  const Answers answers = answers_with_maps(*kind_of(map_task("depth"), nullptr), one_map(),
                                            at::tensor({3.0F, 3.0F, 9.0F}).view({1, 1, 3, 1}));
  EXPECT_THAT(answers.outcomes.at(0).rows, ElementsAre(2, 2));
  EXPECT_THAT(answers.outcomes.at(1).rows, ElementsAre(0.75, 2));
  EXPECT_DOUBLE_EQ(answers.metrics.at("absolute_error"), 1);
  EXPECT_DOUBLE_EQ(answers.metrics.at("relative_error"), 0.375);
}

TEST(Depth, gives_pixels_that_are_not_known_no_gradient) {
  at::Tensor output = at::zeros({1, 1, 3, 1}).requires_grad_(true);
  task_kind("depth").losses(output, one_map()).sum().backward();
  EXPECT_EQ(output.grad().flatten()[0].item<float>(), -0.5);
  EXPECT_EQ(output.grad().flatten()[2].item<float>(), 0);
}

TEST(Depth, has_no_distribution) {
  EXPECT_FALSE(task_kind("depth").has_distribution());
  EXPECT_EQ(task_kind("depth").outputs(0), 1);
}

}  // namespace
}  // namespace fusegrid::depth_test
