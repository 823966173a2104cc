#include "fusion/passes/tall_masks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "support/line_zoo.h"

namespace fusegrid {
namespace {

TEST(TallMasks, compare_the_own_part_with_that_of_the_others) {
  const TestZoo zoo = line_zoo({{2, 3, 1}, {2, 0, -4}});
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const TallMasks tall(in, {.lambda = 0.9});
    in.map_elements([&](const Slice& slice) {
      const at::Tensor multitask = tall.multitask_vector(slice);
      expect_line(multitask, {4, 3, -3});
      const auto masks = tall.masks(slice, multitask);
      expect_line(masks[0].to(at::kFloat), {1, 1, 0});
      expect_line(masks[1].to(at::kFloat), {1, 0, 1});
      return multitask;
    });
  });
}

// |theta_0 - tau_i| is about 1 here whatever the task vectors are.
TEST(TallMasks, with_fusion_benchs_error_are_full) {
  const TestZoo zoo = line_zoo({{0.2F, 0.1F}, {0.1F, 0}});
  zoo.with_needs({Need::kPretrained}, [](const FusionInput& in) {
    const TallMasks tall(in, {.lambda = 0.9, .compare = "fusion_bench"});
    in.map_elements([&](const Slice& slice) {
      for (const at::Tensor& mask : tall.masks(slice, tall.multitask_vector(slice))) {
        EXPECT_TRUE(mask.all().item<bool>());
      }
      return slice.base();
    });
  });
}

}  // namespace
}  // namespace fusegrid
