#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/map_golden.h"

namespace fusegrid::normals_test {
namespace {

using testing::ElementsAre;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(Normals, agree_with_the_golden_values) {
  const nlohmann::json golden = dense_golden().at("normals");
  const at::Tensor units = tensor_of(golden.at("maps")).to(at::kFloat);
  const at::Tensor known = tensor_of(golden.at("known")).to(at::kBool).unsqueeze(1).expand_as(units);
  expect_golden(golden, task_kind("normals"),
                examples_with_maps(units.where(known, at::full_like(units, kNaN))),
                tensor_of(golden.at("output")).to(at::kFloat));
}

// One image of 1 x 2 pixels that look along z, of which the second is not known.
Examples one_map() {
  return examples_with_maps(at::tensor({0.0, kNaN, 0.0, kNaN, 1.0, kNaN}).to(at::kFloat).view({1, 3, 1, 2}));
}

TEST(Normals, do_not_depend_on_the_length_of_the_answer) {
  const auto row = [](double y, double length) {
    const double angle = y * std::acos(-1) / 180;
    const at::Tensor output =
        at::tensor({0.0, length * std::sin(angle), length * std::cos(angle), 1.0, 0.0, 0.0}).to(at::kFloat);
    return answers_with_maps(task_kind("normals"), one_map(), output.view({1, 1, 2, 3})).outcomes;
  };
  for (const double length : {0.01, 1.0, 100.0}) {
    EXPECT_NEAR(row(11, length).at(0).rows.at(0), 11, 1e-4);
    EXPECT_THAT(row(11, length).at(1).rows, ElementsAre(1, 1));
    EXPECT_THAT(row(12, length).at(1).rows, ElementsAre(0, 1));
  }
  EXPECT_NEAR(row(180, 1).at(0).rows.at(0), 180, 1e-4);
}

TEST(Normals, have_gradients_where_the_answer_is_nothing_or_a_pixel_is_not_known) {
  at::Tensor output = at::zeros({1, 1, 2, 3}).requires_grad_(true);
  task_kind("normals").losses(output, one_map()).sum().backward();
  EXPECT_TRUE(at::isfinite(output.grad()).all().item<bool>());
  EXPECT_EQ(output.grad()[0][0][1].abs().sum().item<float>(), 0);
  EXPECT_FALSE(task_kind("normals").has_distribution());
  EXPECT_EQ(task_kind("normals").outputs(0), 3);
}

}  // namespace
}  // namespace fusegrid::normals_test
