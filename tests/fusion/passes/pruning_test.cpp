#include "fusion/passes/pruning.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(KeptPerRow, drops_the_smallest_scores_of_each_row_and_the_first_of_equal_ones) {
  const at::Tensor scores = at::tensor({3.0F, 1.0F, 2.0F, 4.0F, 5.0F, 5.0F, 5.0F, 0.0F}).view({2, 4});
  const at::Tensor expected = at::tensor({1, 0, 0, 1, 0, 1, 1, 0}).view({2, 4}).to(at::kBool);
  EXPECT_TRUE(kept_per_row(scores, 0.5).equal(expected));
  EXPECT_TRUE(kept_per_row(scores, 0.2).all().item<bool>());  // int(0.8) = 0 entries
  EXPECT_FALSE(kept_per_row(scores, 1).any().item<bool>());
}

}  // namespace
}  // namespace fusegrid
