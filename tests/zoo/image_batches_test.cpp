#include "zoo/image_batches.h"

#include <set>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support.h"

namespace fusegrid::test {
namespace {

TEST(Shots, AreOfEachClassWithoutRepetitionAndKeyedBySeed) {
  const LabelledTask task = tiny_task("bars", 1);
  const auto chosen = elements<int64_t>(choose_shots(task, 2, 0));

  ASSERT_EQ(chosen.size(), 6U);
  EXPECT_EQ(std::set<int64_t>(chosen.begin(), chosen.end()).size(), 6U);
  for (size_t i = 0; i < chosen.size(); ++i) {
    EXPECT_EQ(chosen[i] % 3, static_cast<int64_t>(i / 2));  // images come in turn of their classes
  }
  EXPECT_NE(chosen, elements<int64_t>(choose_shots(task, 2, 1)));
}

TEST(Shots, AClassWithoutExamplesIsAnError) {
  LabelledTask task = tiny_task("bars", 1);
  task.classes = 4;
  EXPECT_THROW(choose_shots(task, 2, 0), DataError);
}

TEST(PoolBatchesTest, DrawSourcesByTheirShares) {
  const PoolBatches batches(tiny_pool(), {tiny_task("bars", 1), tiny_task("rows", 2)},
                            {.batch = 4000, .steps = 1, .image_size = 8, .shots = 2});
  const ImageBatch batch = batches.at(0);
  const auto share = [&](int64_t begin, int64_t end) {
    return ((batch.labels >= begin) & (batch.labels < end)).to(at::kDouble).mean().item<double>();
  };
  EXPECT_EQ(batches.classes(), 4 + 2 + 3 + 3);
  EXPECT_NEAR(share(0, 4), 0.5, 0.03);
  EXPECT_NEAR(share(4, 6), 0.26, 0.03);
  EXPECT_NEAR(share(batches.first_label(0), batches.first_label(0) + 3), 0.12, 0.02);
  EXPECT_NEAR(share(batches.first_label(1), batches.first_label(1) + 3), 0.12, 0.02);
  EXPECT_LE(batch.pixels.abs().max().item<float>(), 1.0F);
  EXPECT_EQ(batch.pixels.sizes().vec(), (std::vector<int64_t>{4000, 3, 8, 8}));
}

TEST(TaskBatchesTest, AnEpochShowsEachExampleOnce) {
  LabelledTask task = tiny_task("bars", 1);
  for (int64_t i = 0; i < 30; ++i) {
    task.labels[i] = i;
  }
  TaskBatches batches(task, 10, 1, 0, at::kCPU);
  std::set<int64_t> seen;
  for (int64_t step = 0; step < 3; ++step) {
    for (const int64_t label : elements<int64_t>(batches.at(step).labels)) {
      seen.insert(label);
    }
  }
  EXPECT_EQ(seen.size(), 30U);
}

}  // namespace
}  // namespace fusegrid::test
