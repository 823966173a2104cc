#include "zoo/training.h"

#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support.h"
#include "zoo/adamw.h"

namespace fusegrid::test {
namespace {

class Training : public testing::Test {
 protected:
  Training() : base_(pretrain(recipe_, tiny_pool(), tasks_, 3, at::kCPU)) {
    network_.architecture = make_architecture(recipe_.architecture_config());
    for (const auto& [task, rows] : base_.rows) {
      network_.heads[task] = {rows, std::exp(base_.logit_scale)};
    }
  }
  std::set<std::string> changed(const Weights& weights) const {
    std::set<std::string> names;
    for (const auto& [name, tensor] : weights) {
      if (!tensor.equal(base_.weights.at(name))) {
        names.insert(name);
      }
    }
    return names;
  }
  std::set<std::string> matrices() const {
    std::set<std::string> names;
    for (const LinearLayer& layer : network_.architecture->linear_layers()) {
      names.insert(layer.name + ".weight");
    }
    return names;
  }

  Recipe recipe_ = make_recipe("small", tiny_overrides());
  std::vector<LabelledTask> tasks_{tiny_task("bars", 1), tiny_task("rows", 2)};
  PretrainedBase base_;
  Network network_;
};

TEST_F(Training, PretrainingTwiceGivesTheSameBits) {
  const PretrainedBase again = pretrain(recipe_, tiny_pool(), tasks_, 3, at::kCPU);
  EXPECT_EQ(digest(again.weights), digest(base_.weights));
  EXPECT_TRUE(again.rows.at("bars").equal(base_.rows.at("bars")));
  EXPECT_EQ(again.logit_scale, base_.logit_scale);
  EXPECT_NE(digest(pretrain(recipe_, tiny_pool(), tasks_, 4, at::kCPU).weights), digest(base_.weights));
}

TEST_F(Training, HeadsAreUnitRowsOfEachTask) {
  for (const auto& [task, rows] : base_.rows) {
    EXPECT_EQ(rows.sizes().vec(), (std::vector<int64_t>{3, 8})) << task;
    EXPECT_LT((rows.square().sum(1) - 1).abs().max().item<double>(), 1e-5) << task;
  }
  EXPECT_FALSE(base_.rows.at("bars").equal(base_.rows.at("rows")));
}

TEST_F(Training, FineTuningTwiceGivesTheSameBitsAndChangesTheMatricesOnly) {
  const Weights expert = fine_tune(recipe_, network_, base_.weights, tasks_[0], 3);
  EXPECT_EQ(digest(expert), digest(fine_tune(recipe_, network_, base_.weights, tasks_[0], 3)));
  EXPECT_NE(digest(expert), digest(fine_tune(recipe_, network_, base_.weights, tasks_[0], 4)));
  EXPECT_EQ(changed(expert), matrices());
}

TEST_F(Training, MultitaskTwiceGivesTheSameBitsAndChangesTheMatricesOnly) {
  const Weights model = train_multitask(recipe_, network_, base_.weights, tasks_, 3);
  EXPECT_EQ(digest(model), digest(train_multitask(recipe_, network_, base_.weights, tasks_, 3)));
  EXPECT_EQ(changed(model), matrices());
}

TEST_F(Training, LearnsWhatItIsShown) {
  recipe_.expert_steps = 300;
  recipe_.multitask_steps = 150;
  Split seen;
  seen.images = tasks_[0].images;
  seen.labels = tasks_[0].labels;
  const double before = evaluate(network_, base_.weights, "bars", seen).loss;

  const Answers expert =
      evaluate(network_, fine_tune(recipe_, network_, base_.weights, tasks_[0], 3), "bars", seen);
  const Weights multitask = train_multitask(recipe_, network_, base_.weights, tasks_, 3);

  EXPECT_LT(expert.loss, 0.5 * before);
  EXPECT_GT(expert.accuracy, 0.9);
  EXPECT_LT(evaluate(network_, multitask, "bars", seen).loss, 0.7 * before);
  EXPECT_EQ(expert.correct.size(), 30U);
}

TEST_F(Training, EveryStepReportsThatItIsAlive) {
  int64_t steps = 0;
  fine_tune(recipe_, network_, base_.weights, tasks_[0], 3, [&](int64_t step) { EXPECT_EQ(step, steps++); });
  EXPECT_EQ(steps, recipe_.expert_steps);
}

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
  const Batch batch = batches.at(0);
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

TEST(LearningRate, WarmsUpAndFallsToZero) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, 100, 2, 10), 0.2);
  EXPECT_NEAR(learning_rate_at(50, 100, 2, 10), 1, 1e-12);
  EXPECT_LT(learning_rate_at(99, 100, 2, 10), 0.001);
}

TEST(ClipGradients, LimitsTheCommonNorm) {
  const at::Tensor a = at::full({1}, 3.0);
  const at::Tensor b = at::full({1}, 4.0);
  clip_gradients({a, b}, 1);
  EXPECT_NEAR(a.item<double>(), 0.6, 1e-5);
  clip_gradients({a, b}, 10);
  EXPECT_NEAR(b.item<double>(), 0.8, 1e-5);
}

TEST(RecipeTest, OverridesAreChecked) {
  EXPECT_EQ(make_recipe("large").width, 512);
  EXPECT_EQ(make_recipe("small", {{"expert_steps", 7}}).expert_steps, 7);
  EXPECT_THROW(make_recipe("huge"), ConfigError);
  EXPECT_THROW(make_recipe("small", {{"expert_step", 7}}), ConfigError);
  EXPECT_THROW(make_recipe("small", {{"expert_steps", 0}}), ConfigError);
  EXPECT_THROW(make_recipe("small", {{"head_width", 7}}), ConfigError);
}

}  // namespace
}  // namespace fusegrid::test
