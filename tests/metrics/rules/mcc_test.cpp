#include <cmath>

#include <gtest/gtest.h>

#include "core/philox.h"
#include "metrics/class_fixture.h"

namespace fusegrid {
namespace {

TEST(Mcc, of_three_classes_is_the_correlation_of_one_hot_rows) {
  // numpy: mean over classes of cov(x, y), over the root of those of cov(x, x) and cov(y, y)
  const auto value = class_value("mcc", {0, 0, 1, 2, 1, 1, 0, 2, 2, 2, 0, 1},  //
                                 {0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2});
  EXPECT_NEAR(value.value(), 0.3789683644799335, 1e-15);
}

TEST(Mcc, gives_the_number_of_scikit_learns_documentation) {
  EXPECT_NEAR(class_value("mcc", {1, -1, 1, 1}, {1, 1, 1, -1}).value(), -1.0 / 3, 1e-15);
}

TEST(Mcc, of_two_classes_is_that_of_matthews) {
  for (uint64_t stream = 0; stream < 20; ++stream) {
    std::vector<int32_t> answers;
    std::vector<int32_t> labels;
    double counts[2][2] = {};  // [label][answer]
    for (uint64_t e = 0; e < 40; ++e) {
      const auto words = philox(3, stream, e);
      labels.push_back(words[0] % 3 == 0 ? 1 : 0);
      answers.push_back(words[1] % 4 == 0 ? 1 - labels.back() : labels.back());
      ++counts[labels.back()][answers.back()];
    }
    const double tn = counts[0][0], fp = counts[0][1], fn = counts[1][0], tp = counts[1][1];
    const double expected = (tp * tn - fp * fn) / std::sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn));
    EXPECT_NEAR(class_value("mcc", answers, labels).value(), expected, 1e-14);
  }
}

TEST(Mcc, of_right_answers_is_one_and_of_swapped_ones_minus_one) {
  EXPECT_EQ(class_value("mcc", {0, 1, 2, 2}, {0, 1, 2, 2}), 1);
  EXPECT_EQ(class_value("mcc", {1, 0, 0}, {0, 1, 1}), -1);
}

TEST(Mcc, of_a_constant_answer_is_zero) {
  EXPECT_EQ(class_value("mcc", {2, 2, 2}, {0, 1, 2}), 0);
}

}  // namespace
}  // namespace fusegrid
