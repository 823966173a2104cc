#include "worker/merge_maker.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/spy_methods.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

class MergeMakerTest : public TinyZoos {
 protected:
  static void SetUpTestSuite() {
    TinyZoos::SetUpTestSuite();
    register_spies();
  }
  MergeMakerTest() {
    spy_fuses = 0;
    spy_must_fail = false;
  }
  Merge& merge(const Cell& cell) {
    return maker_.of(cell, zoos_.open(cell.zoo), [this] { ++ticks_; });
  }
  static std::string weights_of(const Merge& merge) { return digest(merge.model.predictor->weights()); }

  ZooCache zoos_{
      {{"embedded-tiny", zoo_folder().string()}, {"other-tiny", zoo_folder("other-tiny").string()}},
      at::kCPU,
      {}};
  MergeMaker maker_{{.statistics_bytes = 1 << 20}, at::kCPU};
  int ticks_ = 0;
};

TEST_F(MergeMakerTest, cells_of_one_merge_fuse_once_and_the_first_is_timed) {
  Merge& first = merge(tiny_cell("spy", "bars"));
  for (const char* cost : {"load_s", "fuse_s", "fuse_operations"}) {
    EXPECT_TRUE(first.costs.contains(cost)) << cost;
  }
  EXPECT_EQ(first.facts.at("experts"), "2");
  EXPECT_EQ(first.facts.at("weights_sha256"), weights_of(first));
  first.costs.clear();
  EXPECT_TRUE(merge(tiny_cell("spy", "rows")).costs.empty());
  EXPECT_TRUE(merge(tiny_cell("spy", "rows", "gaussian_noise-1")).costs.empty());
  EXPECT_EQ(spy_fuses, 1);
}

TEST_F(MergeMakerTest, other_seeds_zoos_and_experts_are_other_merges) {
  const std::string merged = weights_of(merge(tiny_cell("spy")));
  EXPECT_NE(weights_of(merge(tiny_cell("spy", "bars", "clean", 1))), merged);
  EXPECT_NE(weights_of(merge(tiny_cell("spy", "bars", "clean", 0, "other-tiny"))), merged);
  EXPECT_EQ(merge(tiny_cell("spy", "bars", "clean", 0, "embedded-tiny", "rows")).facts.at("experts"), "1");
  EXPECT_EQ(weights_of(merge(tiny_cell("spy"))), merged);
  EXPECT_EQ(spy_fuses, 5);
}

TEST_F(MergeMakerTest, methods_that_look_at_test_inputs_see_those_of_the_cell) {
  const std::string clean = merge(tiny_cell("spy_on_test_inputs")).facts.at("seen");
  EXPECT_EQ(merge(tiny_cell("spy_on_test_inputs", "rows")).facts.at("seen"), clean);
  EXPECT_EQ(spy_fuses, 1);
  const std::string shifted = merge(tiny_cell("spy_on_test_inputs", "bars", "contrast-5")).facts.at("seen");
  EXPECT_NE(shifted, clean);
  EXPECT_EQ(merge(tiny_cell("spy_on_test_inputs", "rows", "contrast-5")).facts.at("seen"), shifted);
  EXPECT_EQ(spy_fuses, 2);
}

TEST_F(MergeMakerTest, methods_that_are_told_so_see_validation_inputs_under_the_shift_of_the_cell) {
  const auto seen = [&](const std::string& task, const std::string& shift) {
    Cell cell = tiny_cell("spy_on_test_inputs", task, shift);
    cell.parameters = "inputs=validation";
    return merge(cell).facts.at("seen");
  };
  const std::string clean = seen("bars", "clean");
  const std::string shifted = seen("bars", "contrast-5");
  EXPECT_NE(shifted, clean);
  EXPECT_EQ(seen("rows", "contrast-5"), shifted);
  EXPECT_EQ(spy_fuses, 2);
}

TEST_F(MergeMakerTest, a_merge_that_throws_leaves_nothing_behind) {
  merge(tiny_cell("spy"));
  spy_must_fail = true;
  EXPECT_THROW(merge(tiny_cell("spy", "bars", "clean", 1)), std::runtime_error);
  EXPECT_THROW(merge(tiny_cell("spy", "bars", "clean", 1)), std::runtime_error) << "tried again, not found";
  spy_must_fail = false;
  const Merge& next = merge(tiny_cell("spy", "bars", "clean", 1));
  EXPECT_EQ(next.name, "embedded-tiny/experts=2/spy/seed=1");
  EXPECT_TRUE(next.costs.contains("fuse_s"));
  EXPECT_EQ(spy_fuses, 4);
}

TEST_F(MergeMakerTest, reads_only_what_the_merge_needs) {
  zoos_.open("embedded-tiny");
  fs::remove_all(model("experts/rows"));
  fs::remove_all(model("multitask"));
  merge(tiny_cell("pretrained"));
  fs::remove_all(model("base", 1));
  EXPECT_EQ(merge(tiny_cell("spy", "bars", "clean", 0, "embedded-tiny", "1")).facts.at("experts"), "1");
  EXPECT_ANY_THROW(merge(tiny_cell("spy")));
}

TEST_F(MergeMakerTest, makes_a_multitask_model_of_it_alone) {
  zoos_.open("embedded-tiny").network(0);
  for (const std::string name : {"base", "experts/bars", "experts/rows"}) {
    fs::remove_all(model(name));
  }
  EXPECT_EQ(merge(tiny_cell("multitask")).facts.at("weights_sha256"),
            zoos_.open("embedded-tiny").zoo().replicate(0).digests.at("multitask"));
}

TEST_F(MergeMakerTest, a_merge_is_held_in_bfloat16_and_its_digest_is_that_of_float32) {
  ZooCache rounding{{{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}, Precision::kBf16};
  MergeMaker in_memory{{.statistics_bytes = 1 << 20}, at::kCPU};
  MergeMaker streaming{{.streamed = true}, at::kCPU};
  for (const std::string method :
       {"task_arithmetic{scale=0.3}", "individual", "simple_ensemble", "smile{rank=2}", "wemoe{steps=0}"}) {
    const Cell cell = tiny_cell(method);
    const std::string digest = merge(cell).facts.at("weights_sha256");
    EXPECT_EQ(weights_of(merge(cell)), digest) << method;
    for (MergeMaker* maker : {&in_memory, &streaming}) {
      const Merge& rounded = maker->of(cell, rounding.open(cell.zoo), [] {});
      EXPECT_EQ(rounded.facts.at("weights_sha256"), digest) << method;
      const Weights held = rounded.model.predictor->weights();
      EXPECT_TRUE(std::any_of(held.begin(), held.end(), [](const auto& entry) {
        return entry.second.scalar_type() == at::kBFloat16;
      })) << method;
    }
  }
}

TEST_F(MergeMakerTest, a_streamed_merge_has_the_same_bits) {
  const Cell cell = tiny_cell("task_arithmetic{scale=0.3}");
  OpenZoo& zoo = zoos_.open(cell.zoo);
  MergeMaker streaming{{.streamed = true}, at::kCPU};
  EXPECT_TRUE(streaming.is_streamed(cell, zoo));
  EXPECT_FALSE(streaming.is_streamed(tiny_cell("spy"), zoo));
  EXPECT_FALSE(maker_.is_streamed(cell, zoo));
  EXPECT_FALSE(streaming.is_streamed(tiny_cell("task_arithmetic{statistics=re_estimated}"), zoo))
      << "its parameters ask for data";
  const Merge& streamed = streaming.of(cell, zoo, [] {});
  EXPECT_EQ(weights_of(streamed), weights_of(merge(cell)));
  EXPECT_EQ(streamed.costs.count("fuse_s"), 1U);
}

TEST_F(MergeMakerTest, models_that_memory_cannot_hold_are_streamed) {
  const Cell cell = tiny_cell("task_arithmetic{scale=0.3}", "bars", "clean", 0, "embedded-tiny", "2");
  OpenZoo& zoo = zoos_.open(cell.zoo);
  const int64_t needed = 4 * zoo.model_bytes(0);  // base, two experts and the merged model
  EXPECT_FALSE((MergeMaker{{.model_bytes = needed}, at::kCPU}.is_streamed(cell, zoo)));
  MergeMaker small{{.model_bytes = needed - 1}, at::kCPU};
  EXPECT_TRUE(small.is_streamed(cell, zoo));
  EXPECT_FALSE(small.is_streamed(tiny_cell("spy"), zoo));
  EXPECT_TRUE((MergeMaker{{.model_bytes = needed}, at::kCPU}.is_streamed(
      tiny_cell("emr", "bars", "clean", 0, "embedded-tiny", "2"), zoo)));
  EXPECT_EQ(weights_of(small.of(cell, zoo, [] {})), weights_of(merge(cell)));
}

}  // namespace
}  // namespace fusegrid
