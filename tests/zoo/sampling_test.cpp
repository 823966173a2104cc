#include "zoo/sampling.h"

#include <set>

#include <gtest/gtest.h>

#include "core/philox.h"

namespace fusegrid {
namespace {

TEST(Scaled, CoversAllNumbersBelowN) {
  EXPECT_EQ(scaled(0, 3), 0);
  EXPECT_EQ(scaled(0.34F, 3), 1);
  EXPECT_EQ(scaled(0.99999994F, 3), 2);
  EXPECT_EQ(scaled(1, 3), 2) << "never n itself";
}

TEST(SourceMixTest, DrawsSourcesByTheirSharesAndExamplesUniformly) {
  SourceMix mix;
  mix.add(10, 0.5);
  mix.add(1000, 0.25);  // shares are relative: the second is drawn from a third of the times
  EXPECT_EQ(mix.size(), 1010);
  EXPECT_EQ(mix.draw(0, 0), 0);
  EXPECT_EQ(mix.draw(0.66F, 0.999F), 9);
  EXPECT_EQ(mix.draw(0.67F, 0), 10);
  EXPECT_EQ(mix.draw(0.9999999F, 0.9999999F), 1009);
}

TEST(ExampleOrderTest, AnEpochShowsEachExampleOnceAndTheNextInAnotherOrder) {
  ExampleOrder order(10, 5, 3);
  const auto epoch = [&] {
    std::vector<int64_t> seen;
    for (int i = 0; i < 2; ++i) {
      const at::Tensor batch = order.next();
      seen.insert(seen.end(), batch.const_data_ptr<int64_t>(),
                  batch.const_data_ptr<int64_t>() + batch.size(0));
    }
    return seen;
  };
  const auto first = epoch();
  const auto second = epoch();
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 10U);
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), 10U);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, permutation(3, 0, 10));
}

TEST(ExampleOrderTest, DropsTheRestOfAnOrderAndTakesNoMoreThanThereIs) {
  ExampleOrder order(10, 4, 3);
  order.next();
  order.next();
  EXPECT_EQ(order.next()[0].item<int64_t>(), permutation(3, 1, 10)[0]);
  EXPECT_EQ(ExampleOrder(3, 8, 0).next().size(0), 3);
}

}  // namespace
}  // namespace fusegrid
