#include "core/model_weights.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(ModelWeights, are_all_one_where_none_are_given) {
  EXPECT_EQ(model_weights("m", {}, false, 3), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(model_weights("m", {}, true, 4), (std::vector<double>{0.25, 0.25, 0.25, 0.25}));
}

TEST(ModelWeights, are_divided_by_their_sum_only_if_asked) {
  EXPECT_EQ(model_weights("m", {1, 3}, true, 2), (std::vector<double>{0.25, 0.75}));
  EXPECT_EQ(model_weights("m", {1, 3}, false, 2), (std::vector<double>{1, 3}));
}

TEST(ModelWeights, refuse_another_number_of_models_and_a_sum_of_zero) {
  EXPECT_THROW(model_weights("m", {1, 2}, false, 3), ConfigError);
  EXPECT_THROW(model_weights("m", {1, -1}, true, 2), ConfigError);
  EXPECT_EQ(model_weights("m", {1, -1}, false, 2), (std::vector<double>{1, -1}));
}

}  // namespace
}  // namespace fusegrid
