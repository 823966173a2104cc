#include "fusion/whole_model/statistics.h"

#include <map>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "core/errors.h"
#include "core/philox.h"
#include "fusion/answers_alone.h"
#include "support/golden.h"
#include "support/numbers_kind.h"
#include "support/small_models.h"
#include "support/table_model.h"

namespace fusegrid::statistics_test {
namespace {

const std::function<void()> kNoTick = [] {};
const std::string kBlock = "vision_model.encoder.layers.1.";

at::Tensor random(uint64_t key, int64_t rows, int64_t columns) {
  return normal(key, 0, 0, rows * columns).view({rows, columns});
}

Inputs train_inputs(const TestZoo& zoo) {
  return zoo.data.examples("task0", "train", -1).inputs;
}

TEST(GramMatrices, are_those_of_the_inputs_that_the_layers_see) {
  const TestZoo zoo = random_zoo(1);
  const Inputs images = train_inputs(zoo);
  std::map<std::string, at::Tensor> inputs;
  zoo.network->features(
      zoo.base, zoo.network->ready(images),
      {[&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        inputs[layer.name] = x.reshape({-1, x.size(-1)}).to(at::kDouble);
        return at::linear(x, weight, bias);
      }});
  const Weights grams =
      gram_matrices(*zoo.network, zoo.base, "task0", task_kind("classify"), images, kNoTick);
  EXPECT_EQ(grams.size(), 2U * 4U);  // per block: q, k and v share one
  for (const Layer& layer : zoo.network->architecture->layers()) {
    const at::Tensor& x = inputs.at(layer.name);
    EXPECT_EQ(x.size(0), 24 * 5);  // images x tokens
    expect_close(grams.at(layer.input), at::matmul(x.t(), x) / static_cast<double>(x.size(0)), 1e-12);
  }
}

// A tower of both senses that is asked about pictures: its heads of pairs read nothing.
TEST(GramMatrices, of_layers_that_no_pass_reads_are_zero) {
  Network network;
  network.architecture = make_architecture({{"model_type", "beit3"},
                                            {"encoder_embed_dim", 4},
                                            {"encoder_ffn_embed_dim", 6},
                                            {"encoder_layers", 1},
                                            {"encoder_attention_heads", 2},
                                            {"img_size", 4},
                                            {"patch_size", 2},
                                            {"vocab_size", 5},
                                            {"max_source_positions", 10}});
  network.readouts["task"] = affine_readout(at::eye(2, 4), at::zeros({2}), Pooling::kFirst);
  Inputs asked = random_tokens({3, 8}, 5);
  asked.images = (uniform(5, 0, 0, 2 * 3 * 16) * 255).view({2, 3, 4, 4}).to(at::kByte);
  const Weights model = random_weights(*network.architecture, at::kFloat);
  const Weights grams = gram_matrices(network, model, "task", task_kind("classify"), asked, kNoTick);
  for (const Layer& layer : network.architecture->layers()) {
    const at::Tensor& gram = grams.at(layer.input);
    EXPECT_EQ(gram.size(0), model.at(layer.weight).size(1)) << layer.name;
    EXPECT_EQ(gram.abs().sum().item<double>() == 0, layer.name.ends_with("_head")) << layer.name;
  }
}

TEST(GramMatrices, of_parts_of_the_data_average_to_those_of_the_whole) {
  const TestZoo zoo = random_zoo(1);
  const Inputs images = train_inputs(zoo);
  const auto gram = [&](int64_t begin, int64_t count) {
    return gram_matrices(*zoo.network, zoo.base, "task0", task_kind("classify"), images.rows(begin, count),
                         kNoTick)
        .at(kBlock + "mlp.fc2");
  };
  expect_close((gram(0, 8) * 8 + gram(8, 16) * 16) / 24, gram(0, 24), 1e-9);
}

// Rows of tokens are filled up to a common width: what fills them counts for nothing.
TEST(GramMatrices, do_not_see_what_fills_rows_of_tokens_up) {
  const at::Tensor table = random(1, 5, 3);
  const TestZoo zoo = table_zoo({table, {"fc"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                                   return apply(Layer("fc"), w, x, pass).mean(1);
                                 }});
  const Inputs inputs = tokens_of_rows({{1, 2}, {3, 3, 4, 1, 2, 2, 1, 4, 3}}).inputs;
  const at::Tensor seen = table.index_select(0, at::tensor({1, 2, 3, 3, 4, 1, 2, 2, 1, 4, 3}, at::kLong));
  const at::Tensor x = seen.to(at::kDouble);
  const Weights grams = gram_matrices(*zoo.network, {{"fc.weight", random(2, 2, 3)}}, "task0",
                                      task_kind("classify"), inputs, kNoTick);
  expect_close(grams.at("fc"), at::matmul(x.t(), x) / 11, 1e-13);
}

// Of an encoder the rows are those of the inputs, of a decoder those of the model's own answers.
TEST(GramMatrices, of_models_that_answer_in_tokens_are_of_what_they_read_alone) {
  const TestZoo zoo = token_zoo(1);
  const Inputs inputs = train_inputs(zoo);
  std::map<std::string, at::Tensor> sums;
  std::map<std::string, int64_t> rows;
  for (int64_t i = 0; i < inputs.size(); ++i) {
    const Inputs one = answered_alone(*zoo.network, zoo.base, "task0", inputs, i, 4);
    zoo.network->features(
        zoo.base, one,
        {[&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          const at::Tensor flat = x.reshape({-1, x.size(-1)}).to(at::kDouble);
          const at::Tensor gram = at::matmul(flat.t(), flat);
          at::Tensor& sum = sums[layer.name];
          sum = sum.defined() ? sum + gram : gram;
          rows[layer.name] += flat.size(0);
          return at::linear(x, weight, bias);
        }});
  }
  EXPECT_EQ(rows.at("encoder.block.0.layer.0.SelfAttention.q"), inputs.lengths.sum().item<int64_t>());
  EXPECT_LT(rows.at("decoder.block.0.layer.0.SelfAttention.q"), 4 * inputs.size()) << "some answers end";
  EXPECT_GT(rows.at("decoder.block.0.layer.0.SelfAttention.q"), inputs.size()) << "others go on";
  const Weights grams =
      gram_matrices(*zoo.network, zoo.base, "task0", zoo.data.kind("task0"), inputs, kNoTick);
  for (const Layer& layer : zoo.network->architecture->layers()) {
    expect_close(grams.at(layer.input), sums.at(layer.name) / static_cast<double>(rows.at(layer.name)), 1e-4);
  }
}

// Each prompt once for each choice, which is read without its last token.
TEST(GramMatrices, of_choices_are_of_all_that_is_read_of_them) {
  const TestZoo zoo = choice_zoo(1);
  const Inputs inputs = train_inputs(zoo);
  const at::Tensor there = inputs.choice_lengths.gt(0);
  const at::Tensor read = (inputs.lengths.unsqueeze(1) + inputs.choice_lengths - 1) * there;
  int64_t rows = 0;
  const std::string layer = zoo.network->architecture->layers().front().input;
  at::Tensor sum;
  for (int64_t i = 0; i < inputs.size(); ++i) {
    for (int64_t choice = 0; choice < there[i].sum().item<int64_t>(); ++choice) {
      Inputs one;
      one.tokens = inputs.tokens.narrow(0, i, 1).narrow(1, 0, inputs.lengths[i].item<int64_t>());
      one.answer = inputs.choices.narrow(0, i, 1).select(1, choice).narrow(
          1, 0, inputs.choice_lengths[i][choice].item<int64_t>() - 1);
      one.lengths = at::tensor({one.tokens.size(1)}, at::kLong);
      one.answer_lengths = at::tensor({one.answer.size(1)}, at::kLong);
      zoo.network->features(
          zoo.base, one,
          {[&](const Layer& of, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
            if (of.input == layer) {
              const at::Tensor flat = x.reshape({-1, x.size(-1)}).to(at::kDouble);
              sum = sum.defined() ? sum + at::matmul(flat.t(), flat) : at::matmul(flat.t(), flat);
              rows += flat.size(0);
            }
            return at::linear(x, weight, bias);
          }});
    }
  }
  EXPECT_EQ(rows, read.sum().item<int64_t>());
  const Weights grams =
      gram_matrices(*zoo.network, zoo.base, "task0", zoo.data.kind("task0"), inputs, kNoTick);
  expect_close(grams.at(layer), sum / static_cast<double>(rows), 1e-4);
}

// A linear softmax model in float32 on 6 rows: logits = W x.
struct LinearModel {
  at::Tensor x = random(1, 6, 3);
  Weights weights{{"W", random(2, 4, 3)}};
  TestZoo zoo = table_zoo({x, {}, [](const Weights& w, const at::Tensor& rows, const Pass&) {
                             return lifted(at::matmul(rows, w.at("W").t()));
                           }});
  LinearModel() { zoo.network->readouts["task"] = lifted_readout(at::eye(4)); }

  at::Tensor fisher(std::vector<int64_t> rows, int64_t batch, const std::string& variant) const {
    return fisher_diagonal(*zoo.network, weights, "task", task_kind("classify"), images_of_rows(rows).inputs,
                           batch, variant, kNoTick)
        .at("W");
  }
};

// F_jc = mean over x of x_j^2 p_c (1 - p_c)
TEST(FisherDiagonal, exact_equals_the_closed_form_of_a_linear_model) {
  const LinearModel model;
  const at::Tensor x = model.x.to(at::kDouble);
  const at::Tensor p = at::log_softmax(at::matmul(x, model.weights.at("W").to(at::kDouble).t()), 1).exp();
  const at::Tensor expected = at::matmul((p * (1 - p)).t(), x.square()) / 6;
  expect_close(model.fisher({0, 1, 2, 3, 4, 5}, 2, "exact"), expected, 1e-5);
}

// sum over classes of p (d log p)^2, with the derivatives as finite differences in float64
TEST(FisherDiagonal, exact_equals_the_enumeration_of_classes_by_finite_differences) {
  const LinearModel model;
  const at::Tensor x = model.x.narrow(0, 2, 1).to(at::kDouble);
  const at::Tensor weight = model.weights.at("W").to(at::kDouble);
  const auto log_p = [&](const at::Tensor& w) { return at::log_softmax(at::matmul(x, w.t()), 1); };
  at::Tensor expected = weight * 0;
  for (int64_t entry = 0; entry < weight.numel(); ++entry) {
    at::Tensor above = weight.clone();
    at::Tensor below = weight.clone();
    above.view({-1})[entry] += 1e-5;
    below.view({-1})[entry] -= 1e-5;
    const at::Tensor slope = (log_p(above) - log_p(below)) / 2e-5;
    expected.view({-1})[entry] += (log_p(weight).exp() * slope.square()).sum();
  }
  expect_close(model.fisher({2}, 1, "exact"), expected, 1e-5);
}

// The first class whose cumulated probability is above a number in [0, 1).
int64_t drawn_class(const at::Tensor& log_p, float number) {
  const at::Tensor p = log_p.detach().to(at::kDouble).exp();
  double up_to = 0;
  int64_t c = 0;
  for (; c + 1 < p.size(0); ++c) {
    up_to += p[c].item<double>();
    if (number < up_to) {
      break;
    }
  }
  return c;
}

// d log p_c / dW_jk = (1[j = c] - p_j) x_k
TEST(FisherDiagonal, sampled_equals_the_closed_form_of_the_drawn_classes) {
  const LinearModel model;
  const at::Tensor x = model.x.to(at::kDouble);
  const at::Tensor log_p = at::log_softmax(at::matmul(x, model.weights.at("W").to(at::kDouble).t()), 1);
  at::Tensor expected = at::zeros({4, 3}, at::kDouble);
  for (int64_t i = 0; i < 6; ++i) {
    const at::Tensor number = uniform(derive_key(0, "fisher/task"), static_cast<uint64_t>(i), 0, 1);
    at::Tensor of_logits = -log_p[i].exp();
    of_logits[drawn_class(log_p[i], number.item<float>())] += 1;
    expected += at::matmul(of_logits.unsqueeze(1), x[i].unsqueeze(0)).square() / 6;
  }
  const std::vector<int64_t> all{0, 1, 2, 3, 4, 5};
  expect_close(model.fisher(all, 2, "sampled"), expected, 1e-5);
  EXPECT_TRUE(model.fisher(all, 2, "sampled").equal(model.fisher(all, 5, "sampled")));
}

TEST(FisherDiagonal, sampled_approaches_exact) {
  const LinearModel model;
  const at::Tensor exact = model.fisher({2}, 1, "exact");
  const at::Tensor sampled = model.fisher(std::vector<int64_t>(4000, 2), 1, "sampled");
  EXPECT_LE((sampled - exact).abs().max().item<double>(), 0.05 * exact.max().item<double>());
  EXPECT_GT((model.fisher({2}, 1, "sampled") - exact).abs().max().item<double>(),
            0.2 * exact.max().item<double>())
      << "of one drawing it is far";
}

// Along an answer the classes of all its rows are drawn, and their sum is derived.
TEST(FisherDiagonal, sampled_of_an_answer_sums_its_rows_before_it_squares) {
  const TestZoo zoo = token_zoo(1);
  const Inputs inputs = train_inputs(zoo);
  const Weights sampled =
      fisher_diagonal(*zoo.network, zoo.base, "task0", zoo.data.kind("task0"), inputs, 3, "sampled", kNoTick);
  const at::AutoGradMode with_gradients(true);
  Weights leaves, expected;
  std::vector<at::Tensor> parameters;
  for (const auto& [name, tensor] : zoo.base) {
    parameters.push_back(leaves[name] = tensor.clone().requires_grad_(true));
    expected[name] = at::zeros_like(tensor);
  }
  for (int64_t i = 0; i < inputs.size(); ++i) {
    const Inputs one = answered_alone(*zoo.network, zoo.base, "task0", inputs, i, 4);
    const at::Tensor log_p = at::log_softmax(zoo.network->output(leaves, one, "task0")[0], 1);
    const at::Tensor numbers =
        uniform(derive_key(0, "fisher/task0"), static_cast<uint64_t>(i), 0, log_p.size(0));
    at::Tensor sum = at::zeros({});
    for (int64_t row = 0; row < log_p.size(0); ++row) {
      sum = sum + log_p[row][drawn_class(log_p[row], numbers[row].item<float>())];
    }
    const auto gradients = torch::autograd::grad({sum}, parameters);
    auto gradient = gradients.begin();
    for (auto& [name, total] : expected) {
      total += (*gradient++).square() / static_cast<double>(inputs.size());
    }
  }
  // where the gradients of an answer's rows all but cancel, single precision leaves few digits
  expect_close(sampled, expected, 5e-2);
}

TEST(FisherDiagonal, exact_is_additive_over_the_data_and_batch_squared_is_not) {
  const LinearModel model;
  const auto halves = [&](const std::string& variant) {
    return (model.fisher({0, 1, 2}, 6, variant) + model.fisher({3, 4, 5}, 6, variant)) / 2;
  };
  const std::vector<int64_t> all{0, 1, 2, 3, 4, 5};
  expect_close(halves("exact"), model.fisher(all, 6, "exact"), 1e-6);
  const at::Tensor apart = halves("batch_squared") - model.fisher(all, 6, "batch_squared");
  EXPECT_GT(apart.abs().max().item<double>(), 1e-3);
}

TEST(FisherDiagonal, batch_squared_depends_on_the_batch_and_differs_from_exact) {
  const LinearModel model;
  const std::vector<int64_t> all{0, 1, 2, 3, 4, 5};
  const auto apart = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  };
  EXPECT_GT(apart(model.fisher(all, 1, "batch_squared"), model.fisher(all, 3, "batch_squared")), 1e-3);
  EXPECT_GT(apart(model.fisher(all, 1, "batch_squared"), model.fisher(all, 1, "exact")), 1e-3);
  EXPECT_EQ(apart(model.fisher(all, 1, "exact"), model.fisher(all, 3, "exact")), 0);
}

TEST(FisherDiagonal, is_refused_where_outputs_are_no_distribution) {
  const LinearModel model;
  const auto ask = [&] {
    fisher_diagonal(*model.zoo.network, model.weights, "task", NumbersKind(), images_of_rows({0}).inputs, 1,
                    "exact", kNoTick);
  };
  EXPECT_THROW(ask(), ConfigError);
}

TEST(FisherDiagonal, covers_every_floating_tensor_in_its_shape) {
  const TestZoo zoo = random_zoo(1);
  const Weights fisher = fisher_diagonal(*zoo.network, zoo.base, "task0", task_kind("classify"),
                                         train_inputs(zoo).rows(0, 4), 2, "batch_squared", kNoTick);
  for (const auto& [name, tensor] : zoo.base) {
    ASSERT_EQ(fisher.contains(name), tensor.is_floating_point()) << name;
    if (tensor.is_floating_point()) {
      EXPECT_EQ(fisher.at(name).sizes().vec(), tensor.sizes().vec());
      EXPECT_FALSE(tensor.requires_grad());
    }
  }
  EXPECT_GT(fisher.at(kBlock + "mlp.fc1.weight").max().item<float>(), 0);
}

// Of a linear softmax model the gradient by the output is that of the logits, 1[j = c] - p_j, of the drawn class c.
TEST(GradientGramMatrices, equal_the_closed_form_of_the_drawn_classes) {
  const at::Tensor table = random(1, 6, 3);
  TestZoo zoo = table_zoo({table, {"fc"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                             return lifted(apply(Layer("fc"), w, x, pass));
                           }});
  zoo.network->readouts["task"] = lifted_readout(at::eye(4));
  const Weights weights{{"fc.weight", random(2, 4, 3)}};
  const at::Tensor log_p = at::log_softmax(at::matmul(table, weights.at("fc.weight").t()).to(at::kDouble), 1);
  at::Tensor expected = at::zeros({4, 4}, at::kDouble);
  for (int64_t i = 0; i < 6; ++i) {
    const at::Tensor number = uniform(derive_key(0, "fisher/task"), static_cast<uint64_t>(i), 0, 1);
    at::Tensor gradient = -log_p[i].exp();
    gradient[drawn_class(log_p[i], number.item<float>())] += 1;
    expected += at::matmul(gradient.unsqueeze(1), gradient.unsqueeze(0)) / 6;
  }
  const auto grams = [&](const std::vector<int64_t>& rows) {
    return gradient_gram_matrices(*zoo.network, weights, "task", task_kind("classify"),
                                  images_of_rows(rows).inputs, kNoTick)
        .at("fc");
  };
  expect_close(grams({0, 1, 2, 3, 4, 5}), expected, 1e-5);
}

// The diagonal of the information of a bias is that of its layer's gradients, summed over an example's rows first where
// there are several: so it is compared where an example has one row of each layer.
TEST(GradientGramMatrices, have_the_sampled_fisher_information_of_biases_on_their_diagonal) {
  const at::Tensor table = random(1, 6, 3);
  TestZoo zoo =
      table_zoo({table, {"fc1", "fc2"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                   return lifted(two_layers(w, x, pass));
                 }});
  zoo.network->readouts["task"] = lifted_readout(at::eye(4));
  const Weights weights{{"fc1.weight", random(2, 5, 3)},
                        {"fc1.bias", random(3, 1, 5).squeeze(0)},
                        {"fc2.weight", random(4, 4, 5)},
                        {"fc2.bias", random(5, 1, 4).squeeze(0)}};
  const Inputs inputs = images_of_rows({0, 1, 2, 3, 4, 5}).inputs;
  const Weights grams =
      gradient_gram_matrices(*zoo.network, weights, "task", task_kind("classify"), inputs, kNoTick);
  const Weights fisher =
      fisher_diagonal(*zoo.network, weights, "task", task_kind("classify"), inputs, 1, "sampled", kNoTick);
  for (const std::string layer : {"fc1", "fc2"}) {
    expect_close(grams.at(layer).diagonal(), fisher.at(layer + ".bias"), 1e-5);
  }
}

TEST(GradientGramMatrices, cover_every_layer_of_models_that_answer_in_tokens) {
  const TestZoo zoo = token_zoo(1);
  const Weights grams = gradient_gram_matrices(*zoo.network, zoo.base, "task0", zoo.data.kind("task0"),
                                               train_inputs(zoo), kNoTick);
  for (const Layer& layer : zoo.network->architecture->layers()) {
    const at::Tensor& gram = grams.at(layer.name);
    EXPECT_EQ(gram.size(0), zoo.base.at(layer.weight).size(0));
    expect_close(gram, gram.t(), 1e-12);
    EXPECT_GT(gram.diagonal().sum().item<double>(), 0) << layer.name;
  }
}

TEST(GradientGramMatrices, are_refused_where_outputs_are_no_distribution) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_THROW(
      gradient_gram_matrices(*zoo.network, zoo.base, "task0", NumbersKind(), train_inputs(zoo), kNoTick),
      ConfigError);
}

// d loss / dW_jk = (p_j - 1[y = j]) x_k
TEST(LossGradients, equal_the_closed_form_of_a_linear_model_and_are_additive) {
  const LinearModel model;
  Examples examples = images_of_rows({0, 1, 2, 3, 4, 5});
  examples.labels = at::tensor({3, 0, 0, 1, 2, 3}, at::kLong);
  const at::Tensor x = model.x.to(at::kDouble);
  const at::Tensor p = at::log_softmax(at::matmul(x, model.weights.at("W").to(at::kDouble).t()), 1).exp();
  const at::Tensor error = (p - at::eye(4, at::kDouble).index_select(0, examples.labels)).abs();
  const auto mean = [&](const Examples& of, int64_t power) {
    return loss_gradients(*model.zoo.network, model.weights, "task", task_kind("classify"), of, power,
                          kNoTick)
        .at("W");
  };
  expect_close(mean(examples, 1), at::matmul(error.t(), x.abs()) / 6, 1e-5);
  expect_close(mean(examples, 2), at::matmul(error.square().t(), x.square()) / 6, 1e-5);
  Examples others = images_of_rows({4, 5});
  others.labels = examples.labels.narrow(0, 4, 2);
  for (const int64_t power : {1, 2}) {
    expect_close((mean(examples.first(4), power) * 4 + mean(others, power) * 2) / 6, mean(examples, power),
                 1e-6);
  }
}

TEST(LossGradients, are_those_of_every_kind_that_can_be_trained) {
  for (const TestZoo& zoo : {token_zoo(1), choice_zoo(1)}) {
    const Weights gradients = loss_gradients(*zoo.network, zoo.base, "task0", zoo.data.kind("task0"),
                                             zoo.data.examples("task0", "train", -1), 2, kNoTick);
    for (const Layer& layer : zoo.network->architecture->layers()) {
      EXPECT_GT(gradients.at(layer.weight).sum().item<double>(), 0) << layer.name;
    }
  }
}

}  // namespace
}  // namespace fusegrid::statistics_test
