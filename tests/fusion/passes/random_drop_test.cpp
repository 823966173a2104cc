#include "fusion/passes/random_drop.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid {
namespace {

TEST(RandomlyDropped, drops_the_same_entries_in_blocks_and_in_whole_tensors) {
  const TestZoo zoo = random_zoo(2);
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const auto dropped = [&](const Slice& slice) {
      return randomly_dropped(in, slice, {0.3, 0.4}, {1, 2})[1].tensor();
    };
    EXPECT_EQ(digest(in.map_elements(dropped)), digest(in.map_tensors(dropped)));
  });
}

TEST(L1Rescaling, is_one_where_there_is_nothing_to_rescale) {
  EXPECT_DOUBLE_EQ(l1_rescaling(3, 2), 1.5);
  EXPECT_DOUBLE_EQ(l1_rescaling(0, 0), 1);
  EXPECT_DOUBLE_EQ(l1_rescaling(3, 1e-8), 1);
}

TEST(DropRescaling, gives_each_tensor_its_own_norm) {
  const TestZoo zoo = random_zoo(2);
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const auto inverse = drop_rescaling(in, {0.5, 0.75}, "inverse");
    ASSERT_EQ(inverse.size(), 2 * in.tensors().size());
    EXPECT_DOUBLE_EQ(inverse[2], 2);
    EXPECT_DOUBLE_EQ(inverse[3], 4);
    EXPECT_DOUBLE_EQ(drop_rescaling(in, {0.5, 0.75}, "none")[3], 1);
    const auto factors = drop_rescaling(in, {0.6, 0.3}, "l1");
    in.map_tensors([&](const Slice& slice) {
      const at::Tensor tau = slice.task_vector(1).to(at::kDouble);
      const at::Tensor kept = randomly_dropped(in, slice, {0.6, 0.3}, {1, 1})[1].tensor().to(at::kDouble);
      const double norm = kept.abs().sum().item<double>() * factors[2 * slice.tensor_index + 1];
      EXPECT_NEAR(norm, tau.abs().sum().item<double>(), 1e-6 * norm) << slice.name();
      return slice.base();
    });
  });
}

}  // namespace
}  // namespace fusegrid
