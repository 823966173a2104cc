#include "core/block_name.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(BlockName, is_what_stands_around_the_first_number) {
  const BlockName name = block_name("model.layers.17.mlp.experts.3.w1.weight");
  EXPECT_TRUE(name.inside);
  EXPECT_EQ(name.stack, "model.layers.");
  EXPECT_EQ(name.block, 17);
  EXPECT_EQ(name.rest, "mlp.experts.3.w1.weight");
}

TEST(BlockName, of_a_name_that_begins_with_the_number) {
  const BlockName name = block_name("2.weight");
  EXPECT_TRUE(name.inside);
  EXPECT_EQ(name.stack, "");
  EXPECT_EQ(name.block, 2);
  EXPECT_EQ(name.rest, "weight");
}

TEST(BlockName, numbers_inside_of_words_do_not_count) {
  for (const std::string tensor : {"fc1.weight", "lm_head.weight", "layer.99999999999.x"}) {
    const BlockName name = block_name(tensor);
    EXPECT_FALSE(name.inside) << tensor;
    EXPECT_EQ(name.rest, tensor);
  }
}

}  // namespace
}  // namespace fusegrid
