#include "fusion/passes/expert_order.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(ExpertOrder, is_the_given_one_or_a_permutation) {
  EXPECT_EQ(expert_order("m", {}, 3), (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(expert_order("m", {2, 0, 1}, 3), (std::vector<size_t>{2, 0, 1}));
}

TEST(ExpertOrder, refuses_anything_else) {
  for (const std::vector<double>& order :
       {std::vector<double>{0, 1}, {0, 1, 1}, {0, 1, 3}, {0, 1, 1.5}, {0, 1, 2, 2}}) {
    EXPECT_THROW(expert_order("m", order, 3), ConfigError);
  }
}

}  // namespace
}  // namespace fusegrid
