#include <gtest/gtest.h>

#include "metrics/class_fixture.h"

namespace fusegrid {
namespace {

TEST(MacroF1, is_the_mean_of_harmonic_means_of_precision_and_recall) {
  // class: precision, recall, F1 = 0: 2/4, 2/4, 1/2;  1: 2/4, 2/3, 4/7;  2: 3/4, 3/5, 2/3
  const auto value = class_value("macro_f1", {0, 0, 1, 2, 1, 1, 0, 2, 2, 2, 0, 1},  //
                                 {0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2});
  EXPECT_NEAR(value.value(), (1.0 / 2 + 4.0 / 7 + 2.0 / 3) / 3, 1e-15);
}

TEST(MacroF1, gives_the_number_of_scikit_learns_documentation) {
  EXPECT_NEAR(class_value("macro_f1", {0, 2, 1, 0, 0, 1}, {0, 1, 2, 0, 1, 2}).value(), 0.8 / 3, 1e-15);
}

TEST(MacroF1, counts_classes_that_answers_alone_have_and_no_others) {
  // class 0: 2 1 / (2 + 1); class 2: 1; class 5: answered once, never right
  EXPECT_NEAR(class_value("macro_f1", {0, 5, 2}, {0, 0, 2}).value(), (2.0 / 3 + 1 + 0) / 3, 1e-15);
}

TEST(MacroF1, of_right_answers_is_one_and_of_wrong_ones_zero) {
  EXPECT_EQ(class_value("macro_f1", {0, 1, 2}, {0, 1, 2}), 1);
  EXPECT_EQ(class_value("macro_f1", {1, 0}, {0, 1}), 0);
}

TEST(MacroF1, of_a_constant_answer_pays_for_the_other_classes) {
  EXPECT_NEAR(class_value("macro_f1", {0, 0, 0, 0}, {0, 0, 0, 1}).value(), 6.0 / 7 / 2, 1e-15);
}

}  // namespace
}  // namespace fusegrid
