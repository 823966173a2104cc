#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/png.h"
#include "support/state_task.h"
#include "tasks/kind.h"

namespace fusegrid::sample_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The patches of a picture, row by row, as a model answers them: [n, 1, 4, 4] -> [n, 4, 4].
at::Tensor patches(const at::Tensor& pictures) {
  return pictures.view({-1, 2, 2, 2, 2}).transpose(2, 3).reshape({-1, 4, 4});
}

// Of a model that goes straight to a picture of each example.
Answers answers_of(const TaskKind& kind, const Examples& examples, const at::Tensor& pictures,
                   int64_t batch = 3, std::vector<float>* times = nullptr) {
  return kind.answer(examples, {.feed = for_each_batch,
                                .output =
                                    [&](const Inputs& ready, Memory*) {
                                      const at::Tensor goal =
                                          pictures.index_select(0, ready.condition.select(1, 2));
                                      const at::Tensor left = (1 - ready.time).view({-1, 1, 1, 1});
                                      if (times != nullptr) {
                                        times->push_back(ready.time[0].item<float>());
                                      }
                                      return patches((goal - ready.state) / left);
                                    },
                                .batch = batch});
}

at::Tensor flat_pictures(const std::vector<double>& shades) {
  return at::tensor(shades, at::kFloat).view({-1, 1, 1, 1}).expand({-1, 1, 4, 4}).contiguous();
}

TEST(Sample, scores_what_the_judge_says_of_the_pictures_at_the_end) {
  const auto kind = kind_of(state_task(), nullptr);
  const Examples examples = numbered_states(4);  // dark low, middle high, bright low, dark high
  const Answers answers = answers_of(*kind, examples, flat_pictures({-1, 1, 1, -1}));
  ASSERT_EQ(answers.outcomes.size(), 3U);
  EXPECT_THAT(answers.outcomes[0].rows, ElementsAre(1, 0, 1, 1));
  EXPECT_THAT(answers.outcomes[1].rows, ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(answers.outcomes[2].rows, ElementsAre(1, 0, 0, 0));
  EXPECT_DOUBLE_EQ(answers.metrics.at("class_agreement"), 0.75);
  EXPECT_DOUBLE_EQ(answers.metrics.at("agreement"), 0.25);
  EXPECT_EQ(answers.examples, 4);
  EXPECT_TRUE(answers.finite);
}

TEST(Sample, shows_the_first_pictures_beside_real_ones) {
  const auto kind = kind_of(state_task(), nullptr);
  const Answers answers = answers_of(*kind, numbered_states(6), flat_pictures({-1, 1, 1, -1, 1, 1}));
  Picture strip{1, 6, 24, std::vector<uint8_t>(6 * 24, 128)};  // each of 4 x 4 has a gray edge
  for (const int64_t place : {0, 1, 2, 3}) {
    for (int64_t y = 1; y < 5; ++y) {
      for (int64_t x = 1; x < 5; ++x) {
        strip.values[static_cast<size_t>(y * 24 + 6 * place + x)] = place == 0 || place == 3 ? 0 : 255;
      }
    }
  }
  EXPECT_EQ(answers.facts.at("pictures"), png_url(strip));
  EXPECT_TRUE(is_png_url(answers.facts.at("real pictures")));
  EXPECT_NE(answers.facts.at("real pictures"), answers.facts.at("pictures"));
}

TEST(Sample, a_model_that_makes_the_real_pictures_is_at_distance_0_and_as_good_as_the_judge) {
  const auto kind = kind_of(state_task(), nullptr);
  Examples examples = numbered_states(6);
  examples.pictures = ((examples.pictures + 1) * 127.5).round() / 127.5 - 1;  // as they are stored
  const Answers answers = answers_of(*kind, examples, examples.pictures);
  EXPECT_NEAR(answers.metrics.at("frechet_distance"), 0, 1e-6);
  EXPECT_DOUBLE_EQ(answers.metrics.at("class_agreement"), answers.metrics.at("judge_class"));
  EXPECT_DOUBLE_EQ(answers.metrics.at("style_agreement"), answers.metrics.at("judge_style"));
}

TEST(Sample, goes_in_as_many_steps_as_the_task_says) {
  std::vector<float> times;
  const Examples examples = numbered_states(2);
  answers_of(*kind_of(state_task({{"euler_steps", 4}}), nullptr), examples, flat_pictures({0, 0}), 2, &times);
  EXPECT_THAT(times, ElementsAre(0, 0.25F, 0.5F, 0.75F));
  times.clear();
  answers_of(*kind_of(state_task(), nullptr), examples, flat_pictures({0, 0}), 2, &times);
  EXPECT_EQ(times.size(), 16U);
}

TEST(Sample, trains_with_the_mean_square_of_what_velocities_are_off) {
  const Examples examples = numbered_states(3);
  const TaskKind& kind = task_kind("sample");
  const at::Tensor right = patches(examples.velocities);
  EXPECT_LE(kind.losses(right, examples).abs().max().item<float>(), 0);
  const at::Tensor off = kind.losses(right + 0.5, examples);
  EXPECT_LE((off - at::full({3}, 0.25)).abs().max().item<float>(), 1e-6);
  EXPECT_FALSE(kind.has_distribution());
}

TEST(Sample, refuses_outputs_that_are_no_velocity_of_the_state) {
  const Examples examples = numbered_states(2);
  EXPECT_THAT(
      [&] {
        task_kind("sample").losses(at::full({2, 4, 3}, 0.0), examples);
      },
      testing::ThrowsMessage<DataError>(HasSubstr("a velocity of each patch")));
}

TEST(Sample, refuses_a_judge_of_other_classes) {
  TaskInfo task = state_task();
  task.style_names.emplace_back("third");
  EXPECT_THAT(
      [&] { kind_of(task, nullptr); },
      testing::ThrowsMessage<ConfigError>(HasSubstr("an output for each class and style, 6, but it has 5")));
  PackJudge judge = shade_judge();
  judge.tensors.erase("layers.0.bias");
  task.judge = std::make_shared<const PackJudge>(judge);
  EXPECT_THAT([&] { kind_of(task, nullptr); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("a tensor layers.0.bias, but it is missing")));
}

}  // namespace
}  // namespace fusegrid::sample_test
