#include <vector>

#include <gtest/gtest.h>

#include "metrics/metric.h"

namespace fusegrid::mean_iou_test {
namespace {

std::optional<double> mean_iou(int64_t classes, const std::vector<float>& rows) {
  return value_of(metric_registry().at("mean_iou"), number_rows(2 * classes, rows));
}

TEST(MeanIou, is_that_of_the_pixels_of_all_examples_together) {
  // of two classes: 3 of 4 pixels and 5 of 8 pixels
  EXPECT_DOUBLE_EQ(mean_iou(2, {1, 5, 2, 6, 2, 0, 2, 2}).value(), (3.0 / 4 + 5.0 / 8) / 2);
}

TEST(MeanIou, leaves_out_classes_that_no_pixel_has_or_is_predicted_to_have) {
  EXPECT_DOUBLE_EQ(mean_iou(3, {1, 0, 0, 2, 0, 0}).value(), 0.5);
  EXPECT_DOUBLE_EQ(mean_iou(3, {1, 0, 0, 2, 0, 1}).value(), 0.25) << "predicted, but nowhere right";
  EXPECT_FALSE(mean_iou(3, {0, 0, 0, 0, 0, 0}));
}

TEST(MeanIou, has_two_numbers_for_each_class) {
  const MetricRule& rule = metric_registry().at("mean_iou");
  EXPECT_TRUE(rule.has_width(2) && rule.has_width(14));
  EXPECT_FALSE(rule.has_width(0) || rule.has_width(7));
  EXPECT_FALSE(rule.is_mean());
}

}  // namespace
}  // namespace fusegrid::mean_iou_test
