#include "zoo/training.h"

#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "models/architecture.h"
#include "support.h"
#include "zoo/token_batches.h"

namespace fusegrid::test {
namespace {

at::Tensor leaf(double value) {
  return at::full({1}, value).requires_grad_(true);
}

at::Tensor squared_distance(const std::vector<at::Tensor>& points, double goal) {
  at::Tensor sum = at::zeros({1});
  for (const at::Tensor& point : points) {
    sum = sum + (point - goal).square();
  }
  return sum.sum();
}

TEST(Minimise, MakesTheLossFall) {
  const at::Tensor x = leaf(0);
  int64_t steps = 0;
  minimise([&](int64_t) { return squared_distance({x}, 1); }, {{.tensors = {x}}},
           {.steps = 200, .learning_rate = 0.05}, [&](int64_t step) { EXPECT_EQ(step, steps++); });
  EXPECT_NEAR(x.item<double>(), 1, 0.01);
  EXPECT_EQ(steps, 200) << "each step tells that it is alive";
}

// The first step of Adam moves every number by the learning rate.
TEST(Minimise, AGroupHasItsOwnLearningRate) {
  const at::Tensor trunk = leaf(0);
  const at::Tensor head = leaf(0);
  minimise(
      [&](int64_t) {
        return squared_distance({trunk, head}, 1);
      },
      {{.tensors = {trunk}}, {.tensors = {head}, .rate_factor = 5}}, {.steps = 1, .learning_rate = 0.01});
  EXPECT_NEAR(trunk.item<double>(), 0.01, 1e-6);
  EXPECT_NEAR(head.item<double>(), 0.05, 1e-6);
}

TEST(Minimise, AGroupHasItsOwnWeightDecay) {
  const at::Tensor decayed = leaf(2);
  const at::Tensor plain = leaf(2);
  minimise([&](int64_t) { return (decayed * 0 + plain * 0).sum(); },
           {{.tensors = {decayed}, .weight_decay = 0.5}, {.tensors = {plain}}},
           {.steps = 1, .learning_rate = 0.1});
  EXPECT_NEAR(decayed.item<double>(), 2 * (1 - 0.1 * 0.5), 1e-6);
  EXPECT_EQ(plain.item<double>(), 2);
}

// Gradients far below Adam's epsilon of 1e-8 move nothing.
TEST(Minimise, ClipsTheGroupsThatAreClipped) {
  const at::Tensor clipped = leaf(0);
  const at::Tensor free = leaf(0);
  minimise(
      [&](int64_t) {
        return squared_distance({clipped, free}, 1);
      },
      {{.tensors = {clipped}}, {.tensors = {free}, .clipped = false}},
      {.steps = 1, .learning_rate = 0.1, .clip = 1e-12});
  EXPECT_LT(clipped.item<double>(), 1e-4);
  EXPECT_NEAR(free.item<double>(), 0.1, 1e-5);
}

TEST(FirstValues, AreNormalAndAFunctionOfTheKey) {
  const at::Tensor first = normal_tensor({40, 50}, 0.5, 7);
  EXPECT_TRUE(first.equal(normal_tensor({40, 50}, 0.5, 7)));
  EXPECT_FALSE(first.equal(normal_tensor({40, 50}, 0.5, 8)));
  EXPECT_NEAR(first.mean().item<double>(), 0, 4 * 0.5 / std::sqrt(2000.0));
  EXPECT_NEAR(first.square().mean().item<double>(), 0.25, 0.04);
}

TEST(LayerMatrices, AreTheMatricesOfAffineLayersAlone) {
  const auto model = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 2}, {"hidden_sizes", nlohmann::json::array({3, 2})}});
  std::set<std::string> matrices;
  for (const TensorInfo& info : model->parameters()) {
    if (info.shape.size() == 2) {
      matrices.insert(info.name);
    }
  }
  EXPECT_EQ(layer_matrices(*model), matrices);
  EXPECT_EQ(matrices.size(), 2U);
}

TEST(Detached, HasTheSameNumbersWithoutGradients) {
  const Weights trained{{"x", leaf(3)}};
  const at::Tensor plain = detached(trained).at("x");
  EXPECT_FALSE(plain.requires_grad());
  EXPECT_EQ(plain.data_ptr(), trained.at("x").data_ptr());
}

TEST(TraineeTest, HasCopiesOfWhatIsTrainedAndTheBaseItselfOtherwise) {
  const Weights base{{"a", at::full({2}, 1.0)}, {"b", at::full({2}, 2.0)}};
  const Trainee trainee = make_trainee(base, {"b"});
  ASSERT_EQ(trainee.trained.size(), 1U);
  EXPECT_TRUE(trainee.trained[0].is_leaf() && trainee.trained[0].requires_grad());
  EXPECT_TRUE(trainee.trained[0].is_same(trainee.weights.at("b")));
  EXPECT_TRUE(trainee.weights.at("a").is_alias_of(base.at("a")));
  EXPECT_FALSE(trainee.weights.at("b").is_alias_of(base.at("b")));
}

// A small encoder, and rows of all widths.
class TrainTokens : public testing::Test {
 protected:
  TrainTokens() {
    network_.architecture = make_architecture({{"model_type", "bert"},
                                               {"hidden_size", 8},
                                               {"num_hidden_layers", 2},
                                               {"num_attention_heads", 2},
                                               {"intermediate_size", 16},
                                               {"vocab_size", 40},
                                               {"max_position_embeddings", 32},
                                               {"type_vocab_size", 0}});
    for (const TensorInfo& info : network_.architecture->parameters()) {
      weights_[info.name] = normal(derive_key(0, info.name), 0, 0, info.numel()).mul_(0.3).view(info.shape);
    }
    for (int64_t i = 0; i < 24; ++i) {
      ids_.emplace_back();
      for (int64_t j = 0; j <= i; ++j) {
        ids_.back().push_back(static_cast<int32_t>(1 + (7 * i + 3 * j) % 39));
      }
    }
  }
  Inputs rows(int64_t begin, int64_t count) const {
    std::vector<std::span<const int32_t>> chosen;
    for (int64_t i = begin; i < begin + count; ++i) {
      chosen.emplace_back(ids_[static_cast<size_t>(i)]);
    }
    return filled_up(chosen, 0);
  }
  TrainedTask task(const std::string& name, int64_t begin, int64_t count) const {
    return {name, &task_kind("classify"), [=, this](int64_t) -> Examples {
              return {rows(begin, count), labels(count, 3)};
            }};
  }
  // A head that learns, beside itself in the network.
  std::vector<at::Tensor> add_head(const std::string& name) {
    std::vector<at::Tensor> head{normal(derive_key(1, name), 0, 0, 24).view({3, 8}).requires_grad_(true),
                                 at::zeros({3}).requires_grad_(true)};
    network_.readouts[name] = affine_readout(head[0], head[1], Pooling::kMean);
    return head;
  }

  Network network_;
  Weights weights_;
  std::vector<std::vector<int32_t>> ids_;
};

// Rows of one width share a pass; here all rows of a task go through the encoder together, filled up to 32 tokens.
TEST_F(TrainTokens, TheLossIsTheMeanOverTasksOfTheMeanOverRows) {
  const Schedule schedule{.steps = 20, .learning_rate = 0.05};
  const auto first = add_head("first");
  const auto second = add_head("second");
  train(network_, make_trainee(weights_, {}), {task("first", 0, 20), task("second", 4, 12)},
        {{.tensors = {first[0], first[1], second[0], second[1]}}}, schedule);

  const auto features = [&](int64_t begin, int64_t count) {
    Inputs wide = rows(begin, count);
    wide.tokens =
        concatenate_inputs({wide, {{}, at::zeros({1, 32}, at::kLong), at::full({1}, 32, at::kLong)}})
            .tokens.narrow(0, 0, count);
    return network_.architecture->features(weights_, wide, Pooling::kMean);
  };
  const at::Tensor of_first = features(0, 20);
  const at::Tensor of_second = features(4, 12);
  const auto expected_first = add_head("first");
  const auto expected_second = add_head("second");
  minimise(
      [&](int64_t) {
        const auto loss = [](const at::Tensor& x, const std::vector<at::Tensor>& head) {
          return at::cross_entropy_loss(at::linear(x, head[0], head[1]), labels(x.size(0), 3));
        };
        return (loss(of_first, expected_first) + loss(of_second, expected_second)) / 2;
      },
      {{.tensors = {expected_first[0], expected_first[1], expected_second[0], expected_second[1]}}},
      schedule);
  EXPECT_TRUE(at::allclose(first[0], expected_first[0], 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(second[0], expected_second[0], 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(second[1], expected_second[1], 1e-4, 1e-5));
}

TEST_F(TrainTokens, ChangesWhatIsTrainedAlone) {
  add_head("first");
  const Trainee trainee = make_trainee(weights_, {"encoder.layer.1.output.dense.weight"});
  const Weights trained = train(network_, trainee, {task("first", 0, 20)}, {{.tensors = trainee.trained}},
                                {.steps = 3, .learning_rate = 0.01});
  for (const auto& [name, tensor] : trained) {
    EXPECT_EQ(tensor.equal(weights_.at(name)), name != "encoder.layer.1.output.dense.weight") << name;
    EXPECT_FALSE(tensor.requires_grad()) << name;
  }
}

// A small convolutional network with batch norms, a head that learns beside it, and one batch for all steps.
class TrainBatchNorm : public testing::Test {
 protected:
  TrainBatchNorm() {
    network_.architecture = make_architecture({{"model_type", "cnn"},
                                               {"image_size", 4},
                                               {"hidden_sizes", {3, 5}},
                                               {"norm", "batch"},
                                               {"pool_last", false}});
    for (const TensorInfo& info : network_.architecture->parameters()) {
      weights_[info.name] = normal(derive_key(0, info.name), 0, 0, info.numel()).abs_().view(info.shape);
    }
    batch_.inputs.images = normal(9, 0, 0, 6 * 3 * 16).view({6, 3, 4, 4});
    batch_.labels = labels(6, 3);
  }
  std::vector<at::Tensor> add_head() {
    std::vector<at::Tensor> head{normal(1, 0, 0, 15).view({3, 5}).requires_grad_(true),
                                 at::zeros({3}).requires_grad_(true)};
    network_.readouts["task"] = affine_readout(head[0], head[1], Pooling::kMean);
    return head;
  }
  TrainedTask task() const {
    return {"task", &task_kind("classify"), [this](int64_t) { return batch_; }};
  }

  Network network_;
  Weights weights_;
  Examples batch_;
};

TEST_F(TrainBatchNorm, RunningStatisticsMoveATenthTowardsThoseOfEachBatch) {
  const auto head = add_head();
  const Weights before = detached(weights_);
  std::map<std::string, at::Tensor> of_batch;
  const Pass asking{
      .batch_statistics = [&](const std::string& norm, const at::Tensor& mean, const at::Tensor& variance) {
        of_batch[norm + ".running_mean"] = mean;
        of_batch[norm + ".running_var"] = variance;
      }};
  network_.features(weights_, batch_.inputs, asking);
  const Weights trained = train(network_, make_trainee(weights_, {}), {task()}, {{.tensors = head}},
                                {.steps = 2, .learning_rate = 0.01});
  EXPECT_EQ(of_batch.size(), 4U);
  for (const auto& [name, tensor] : trained) {
    const at::Tensor expected =
        of_batch.contains(name) ? before.at(name) * 0.81 + of_batch.at(name) * 0.19 : before.at(name);
    EXPECT_TRUE(at::allclose(tensor, expected, 1e-5, 1e-6)) << name;
    EXPECT_TRUE(weights_.at(name).equal(before.at(name))) << name << ": the base is left alone";
  }
}

TEST_F(TrainBatchNorm, TheLossIsThatOfTheBatchsOwnStatistics) {
  const Schedule schedule{.steps = 20, .learning_rate = 0.05};
  const auto head = add_head();
  train(network_, make_trainee(weights_, {}), {task()}, {{.tensors = head}}, schedule);

  const Pass asking{.batch_statistics = [](const std::string&, const at::Tensor&, const at::Tensor&) {}};
  const at::Tensor features = network_.features(weights_, batch_.inputs, asking);
  const auto expected = add_head();
  minimise(
      [&](int64_t) {
        return at::cross_entropy_loss(at::linear(features, expected[0], expected[1]), batch_.labels);
      },
      {{.tensors = expected}}, schedule);
  EXPECT_TRUE(at::allclose(head[0], expected[0], 1e-4, 1e-5));
  EXPECT_FALSE(at::allclose(features, network_.features(weights_, batch_.inputs), 0.1, 0.1));
}

TEST_F(TrainBatchNorm, RunningStatisticsAreNotAmongWhatIsTrained) {
  const Trainee trainee = make_trainee(weights_, names_of(weights_));
  EXPECT_EQ(trainee.trained.size(), 6U) << "two kernels, two scales, two shifts";
  add_head();
  const Weights trained =
      train(network_, trainee, {task()}, {{.tensors = trainee.trained}}, {.steps = 3, .learning_rate = 0.01});
  for (const auto& [name, tensor] : trained) {
    EXPECT_FALSE(tensor.equal(weights_.at(name))) << name;
    EXPECT_FALSE(tensor.requires_grad()) << name;
  }
}

}  // namespace
}  // namespace fusegrid::test
