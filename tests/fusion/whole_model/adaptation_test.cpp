// adaptation.h, adam.h and fused_model.h in the small
#include "fusion/whole_model/adaptation.h"

#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "fusion/answers_alone.h"
#include "fusion/whole_model/adam.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid {
namespace {

TEST(Adam, takes_the_steps_that_the_formula_gives) {
  at::Tensor parameter = at::tensor({1.0, -2.0}, at::kDouble);
  Adam adam(parameter, 0.1);
  std::vector<double> expected{1.0, -2.0};
  std::vector<double> first(2, 0.0);
  std::vector<double> second(2, 0.0);
  for (int step = 1; step <= 5; ++step) {
    const std::vector<double> gradient{0.5 * step, -1.0 / step};
    adam.step(at::tensor(gradient, at::kDouble));
    for (size_t i = 0; i < 2; ++i) {
      first[i] = 0.9 * first[i] + 0.1 * gradient[i];
      second[i] = 0.999 * second[i] + 0.001 * gradient[i] * gradient[i];
      const double mean = first[i] / (1 - std::pow(0.9, step));
      const double scale = std::sqrt(second[i] / (1 - std::pow(0.999, step))) + 1e-8;
      expected[i] -= 0.1 * mean / scale;
    }
    expect_close(parameter, at::tensor(expected, at::kDouble), 1e-13);
  }
}

// The original's coefficients after each step, from its gradients.
TEST(Adam, follows_the_original_from_its_gradients) {
  for (const std::string file : {"adamerging__layer_wise", "adamerging__task_wise_clamped"}) {
    const Golden golden = read_golden(file);
    at::Tensor coefficients = golden.tensors.at("coefficients/initial").clone();
    Adam adam(coefficients, file.ends_with("clamped") ? 0.05 : 0.001);
    for (int64_t step = 0; step < 5; ++step) {
      adam.step(golden.tensors.at("gradients")[step]);
      expect_close(coefficients, golden.tensors.at("coefficients")[step], 1e-13);
    }
  }
}

// Value and gradient, in float64, where the epsilon inside the original's logarithm does not show.
TEST(EntropyLoss, equals_fusion_bench) {
  const Golden golden = read_golden("adamerging__entropy");
  TestZoo zoo = table_zoo({at::zeros({1, 1}), {}, {}});
  zoo.tasks = {"task"};
  zoo.experts = {{{"w", at::zeros({1})}}};
  zoo.network->readouts["task"] = lifted_readout(at::eye(5, at::kDouble), 1000.0);
  const at::AutoGradMode with_gradients(true);
  at::Tensor logits = golden.tensors.at("logits").clone().requires_grad_(true);
  // lifted to a sphere of radius 1000, as the first row holds logits of 200
  const at::Tensor features = concatenate({logits, (1e6 - logits.square().sum({1}, true)).sqrt()}, 1);
  zoo.with_needs({}, [&](const FusionInput& in) {
    const Inputs six{at::zeros({6}), {}, {}};
    const at::Tensor loss = entropy_loss(in, {}, {six}, features);
    loss.backward();
    expect_close(loss.detach(), golden.tensors.at("loss"), 1e-7);
    expect_close(logits.grad(), golden.tensors.at("gradient"), 1e-7);
  });
}

TEST(AdaptationStream, shows_every_image_of_a_task_once_per_epoch_in_another_order) {
  TestZoo zoo = table_zoo({at::zeros({12, 1}), {}, {}});
  zoo.tasks = {"a", "b"};
  zoo.experts = {{{"w", at::zeros({1})}}, {{"w", at::zeros({1})}}};
  zoo.data.set("a", "test", images_of_rows({0, 1, 2, 3, 4, 5}));
  zoo.data.set("b", "test", images_of_rows({6, 7, 8, 9, 10, 11}));
  zoo.with_needs({Need::kTestInputs}, [](const FusionInput& in) {
    AdaptationStream stream(in, 3, "a test");
    const auto epoch = [&] {
      std::vector<int64_t> rows;
      for (int step = 0; step < 2; ++step) {
        const at::Tensor pixels = stream.next().inputs.images.select(1, 0).reshape({-1});
        EXPECT_EQ(pixels.numel(), 2 * 3);
        for (int64_t i = 0; i < 6; ++i) {
          const auto row = static_cast<int64_t>(std::lround(pixels[i].item<double>()));
          EXPECT_EQ(row >= 6, i >= 3) << "task after task";
          rows.push_back(row);
        }
      }
      return rows;
    };
    const auto first = epoch();
    const auto second = epoch();
    EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 12U);
    EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), 12U);
    EXPECT_NE(first, second);
  });
}

TEST(AdaptationStream, shows_the_images_of_some_tasks_alone_as_in_the_stream_of_all) {
  TestZoo zoo = random_zoo(3);
  zoo.with_needs({Need::kTestInputs}, [&](const FusionInput& in) {
    AdaptationStream all(in, 4, "a test");
    AdaptationStream some(in, {"task2", "task0"}, 4, "a test");
    EXPECT_EQ(some.tasks(), (std::vector<std::string>{"task2", "task0"}));
    const AdaptationStream::Step of_all = all.next();
    const AdaptationStream::Step of_some = some.next();
    ASSERT_EQ(of_some.inputs.size(), 8);
    EXPECT_TRUE(of_some.by_task[0].images.equal(of_all.by_task[2].images));
    EXPECT_TRUE(of_some.by_task[1].images.equal(of_all.by_task[0].images));
    const auto loss_of = [&](const std::vector<std::string>& tasks, const AdaptationStream::Step& step) {
      const at::Tensor features = zoo.network->features(zoo.base, step.inputs);
      return entropy_loss(in, tasks, zoo.base, step.by_task, features).item<double>();
    };
    AdaptationStream other(in, {"task1"}, 4, "a test");
    EXPECT_NEAR(loss_of(some.tasks(), of_some) + loss_of(other.tasks(), other.next()),
                loss_of(in.tasks(), of_all), 1e-5);
  });
}

TEST(AdaptationStream, makes_one_batch_of_rows_of_tokens_of_all_tasks) {
  TestZoo zoo = table_zoo({at::zeros({4, 1}), {}, {}});
  zoo.tasks = {"a", "b"};
  zoo.experts = {{{"w", at::zeros({1})}}, {{"w", at::zeros({1})}}};
  zoo.data.set("a", "test", tokens_of_rows({{1}, {1, 1}}));
  zoo.data.set("b", "test", tokens_of_rows({{2, 2, 2, 2, 2, 2, 2, 2, 2}, {3, 3, 3}}));
  zoo.with_needs({Need::kTestInputs}, [](const FusionInput& in) {
    const Inputs both = AdaptationStream(in, 2, "a test").next().inputs;
    ASSERT_EQ(both.tokens.sizes().vec(), (std::vector<int64_t>{4, 16})) << "as wide as the longest";
    EXPECT_EQ(both.lengths.sum().item<int64_t>(), 1 + 2 + 9 + 3);
    for (int64_t row = 0; row < 4; ++row) {
      const int64_t first = both.tokens[row][0].item<int64_t>();
      EXPECT_EQ(first > 1, row >= 2) << "task after task";
      EXPECT_EQ(both.tokens[row].sum().item<int64_t>(), first * both.lengths[row].item<int64_t>());
    }
  });
}

// Of a model that answers in tokens, against what it does with each of the inputs alone.
TEST(AdaptationStream, completes_inputs_by_answers_whose_rows_the_entropy_means_over) {
  constexpr int64_t kBatch = 5;
  const TestZoo zoo = token_zoo(2);
  const Network& network = *zoo.network;
  const Weights& model = zoo.experts[1];
  zoo.with_needs({Need::kTestInputs}, [&](const FusionInput& in) {
    const auto [inputs, by_task] =
        AdaptationStream(in, kBatch, "a test").next(asker_of(network, model, "task0"));
    ASSERT_EQ(inputs.size(), 2 * kBatch);
    double expected = 0;
    int64_t all_rows = 0;
    for (int64_t task = 0; task < 2; ++task) {
      double sum = 0;
      int64_t rows = 0;
      for (int64_t i = task * kBatch; i < (task + 1) * kBatch; ++i) {
        const Inputs one = answered_alone(network, model, "task0", inputs, i, 4);
        EXPECT_EQ(inputs.answer_lengths[i].item<int64_t>(), one.answer.size(1));
        EXPECT_TRUE(inputs.answer[i].narrow(0, 0, one.answer.size(1)).equal(one.answer[0])) << i;
        const at::Tensor p = at::softmax(network.output(model, one, "task0")[0].to(at::kDouble), 1);
        sum -= (p * p.log()).sum().item<double>();
        rows += p.size(0);
      }
      expected += sum / static_cast<double>(rows);
      all_rows += rows;
    }
    EXPECT_LT(all_rows, 4 * inputs.size()) << "some answers end";
    const at::Tensor loss = entropy_loss(in, model, by_task, network.features(model, inputs));
    EXPECT_NEAR(loss.item<double>(), expected, 1e-5);
  });
}

// What a pass reads of it.
Inputs one_row(Inputs inputs, int64_t row) {
  inputs.choices = inputs.choice_lengths = at::Tensor();
  return inputs.rows(row, 1);
}

// A row for each choice of each example; the entropy is that of each example's choices.
TEST(AdaptationStream, completes_prompts_by_all_their_choices) {
  constexpr int64_t kBatch = 5;
  const TestZoo zoo = choice_zoo(2);
  const Network& network = *zoo.network;
  const Weights& model = zoo.experts[1];
  zoo.with_needs({Need::kTestInputs}, [&](const FusionInput& in) {
    const auto [inputs, by_task] = AdaptationStream(in, kBatch, "a test").next();
    double expected = 0;
    int64_t all_rows = 0;
    for (const Inputs& of_task : by_task) {
      const at::Tensor counts = of_task.choice_lengths.gt(0).sum(1);
      ASSERT_EQ(counts.size(0), kBatch);
      EXPECT_EQ(of_task.size(), counts.sum().item<int64_t>());
      int64_t row = 0;
      for (int64_t i = 0; i < kBatch; ++i) {
        std::vector<double> log_p;
        for (int64_t choice = 0; choice < counts[i].item<int64_t>(); ++choice, ++row) {
          const Inputs one = one_row(of_task, row);
          const int64_t length = of_task.choice_lengths[i][choice].item<int64_t>();
          EXPECT_EQ(one.answer_lengths.item<int64_t>(), length - 1);
          const at::Tensor rows =
              at::log_softmax(network.output(model, one, "task0")[0].to(at::kDouble), 1).narrow(0, 0, length);
          const at::Tensor tokens = of_task.choices[i][choice].narrow(0, 0, length).unsqueeze(1);
          log_p.push_back(rows.gather(1, tokens).sum().item<double>());
        }
        const at::Tensor p = at::softmax(at::tensor(log_p, at::kDouble), 0);
        expected -= (p * p.log()).sum().item<double>() / kBatch;
      }
      all_rows += row;
    }
    EXPECT_EQ(inputs.size(), all_rows);
    EXPECT_GT(expected, 0.01);
    const at::Tensor loss = entropy_loss(in, model, by_task, network.features(model, inputs));
    EXPECT_NEAR(loss.item<double>(), expected, 1e-4);
  });
}

TEST(AdaptationStream, makes_a_batch_of_more_images_than_the_task_has) {
  TestZoo zoo = table_zoo({at::zeros({2, 1}), {}, {}});
  zoo.tasks = {"a"};
  zoo.experts = {{{"w", at::zeros({1})}}};
  zoo.data.set("a", "test", images_of_rows({0, 1}));
  zoo.with_needs({Need::kTestInputs}, [](const FusionInput& in) {
    EXPECT_EQ(AdaptationStream(in, 5, "x").next().inputs.size(), 5);
  });
}

}  // namespace
}  // namespace fusegrid
