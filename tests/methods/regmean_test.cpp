#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/table_model.h"

namespace fusegrid::regmean_test {
namespace {

const std::string kAttention = "vision_model.encoder.layers.0.self_attn";

// Puts `gram` where the method looks for the Gram matrices of expert `index`.
void put_gram(const TestZoo& zoo, size_t index, const Weights& gram) {
  zoo.cache->get(gram_key(256, zoo.tasks[index], zoo.expert_on_data_key(index)),
                 StatisticsCache::Keep::kMemory, [&] { return gram; });
}

// y = fc(x): one linear layer, whose weights and inputs a test chooses. Gram matrices are those of the data.
TestZoo layer_zoo(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& inputs) {
  TestZoo zoo =
      table_zoo({concatenate(inputs), {"fc"}, [](const Weights& w, const at::Tensor& x, const Pass& pass) {
                   return apply(Layer("fc"), w, x, pass);
                 }});
  int64_t row = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    zoo.tasks.push_back("task" + std::to_string(i));
    zoo.experts.push_back({{"fc.weight", weights[i]}});
    std::vector<int64_t> own(static_cast<size_t>(inputs[i].size(0)));
    std::iota(own.begin(), own.end(), row);
    row += inputs[i].size(0);
    zoo.data.set(zoo.tasks[i], "train", images_of_rows(own));
  }
  return zoo;
}

at::Tensor random(uint64_t key, int64_t rows, int64_t columns) {
  return normal(key, 0, 0, rows * columns).view({rows, columns});
}

// q, k and v share one Gram matrix here, but have their own in the golden inputs: each is checked with its
// own.
TEST(RegMean, solves_as_fusion_bench_does) {
  const Golden grams = read_golden("inputs__gram");
  for (const auto& [ratio, file] : {std::pair{"0.95", "ratio095"}, {"0.6", "ratio06"}, {"0", "ratio00"}}) {
    for (const std::string layer : {"q_proj", "k_proj", "v_proj"}) {
      const TestZoo zoo = golden_zoo();
      for (size_t i = 0; i < 4; ++i) {
        Weights gram = grams.under(zoo.tasks[i]);
        gram[kAttention] = gram.at(kAttention + "." + layer);
        put_gram(zoo, i, gram);
      }
      Weights merged = zoo.fuse(std::string("regmean{ridge=1e-14,ratio=") + ratio + "}").weights;
      Weights expected = read_golden(std::string("regmean__") + file).under("");
      for (const std::string other : {"q_proj", "k_proj", "v_proj"}) {
        if (other != layer) {
          EXPECT_EQ(merged.erase(kAttention + "." + other + ".weight"), 1U);
          expected.erase(kAttention + "." + other + ".weight");
        }
      }
      expect_close(merged, expected, 3e-7);
    }
  }
}

// The original merges the last layer too; so does ours, as this model names it among its linear layers.
TEST(RegMean, equals_fusion_bench_from_the_data_on) {
  const Golden golden = read_golden("regmean__from_batches");
  const at::Tensor rows =
      at::stack({golden.tensors.at("batches/expert0"), golden.tensors.at("batches/expert1")});
  TestZoo zoo = table_zoo({rows.reshape({30, 6}).to(at::kFloat), {"fc1", "fc2"}, two_layers});
  for (int64_t i = 0; i < 2; ++i) {
    const std::string task = "expert" + std::to_string(i);
    zoo.tasks.push_back(task);
    zoo.experts.push_back(as_float(golden.under(task)));
    std::vector<int64_t> own(15);
    std::iota(own.begin(), own.end(), 15 * i);
    zoo.data.set(task, "train", images_of_rows(own));
  }
  zoo.with_needs({Need::kTrainInputs}, [&](const FusionInput& in) {
    for (size_t i = 0; i < 2; ++i) {
      expect_close(*in.gram(i, 15), golden.under("gram/" + zoo.tasks[i]), 1e-6);
    }
  });
  expect_close(zoo.fuse("regmean{examples=15,ratio=0.95,ridge=1e-14}").weights, golden.under("merged"), 2e-6);
}

TEST(RegMean, of_equal_grams_is_the_average) {
  const TestZoo zoo = random_zoo(3);
  zoo.with_needs({Need::kTrainInputs}, [&](const FusionInput& in) {
    const Weights gram = *in.gram(0, 8);
    for (size_t i = 0; i < 3; ++i) {
      put_gram(zoo, i, gram);
    }
  });
  expect_close(zoo.fuse("regmean").weights, zoo.fuse("simple_average").weights, 3e-7);
}

TEST(RegMean, of_equal_experts_is_that_expert) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  expect_close(zoo.fuse("regmean").weights, zoo.experts[0], 2e-7);
}

TEST(RegMean, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  EXPECT_EQ(digest(zoo.fuse("regmean").weights), digest(zoo.experts[0]));
}

TEST(RegMean, satisfies_the_normal_equations_and_beats_the_average) {
  const std::vector<at::Tensor> x{random(1, 20, 5), random(2, 20, 5)};
  const std::vector<at::Tensor> w{random(3, 4, 5), random(4, 4, 5)};
  const TestZoo zoo = layer_zoo(w, x);
  const at::Tensor merged = zoo.fuse("regmean{ratio=1,ridge=1e-14}").weights.at("fc.weight");
  at::Tensor residual = at::zeros({5, 4});
  double objective = 0;
  double of_average = 0;
  const at::Tensor average = (w[0] + w[1]) / 2;
  for (size_t i = 0; i < 2; ++i) {
    residual += at::matmul(x[i].t(), at::matmul(x[i], (merged - w[i]).t()));
    objective += at::matmul(x[i], (merged - w[i]).t()).square().sum().item<double>();
    of_average += at::matmul(x[i], (average - w[i]).t()).square().sum().item<double>();
  }
  expect_close(residual, at::zeros({5, 4}), 1e-4);
  EXPECT_LT(objective, 0.99 * of_average);
}

// Each expert's inputs live in their own columns: one layer can answer all of them as their experts do.
TEST(RegMean, of_inputs_with_disjoint_support_is_exact) {
  at::Tensor first = random(1, 10, 6);
  at::Tensor second = random(2, 10, 6);
  first.narrow(1, 3, 3).zero_();
  second.narrow(1, 0, 3).zero_();
  const std::vector<at::Tensor> w{random(3, 4, 6), random(4, 4, 6)};
  const at::Tensor merged = layer_zoo(w, {first, second}).fuse("regmean{ratio=1}").weights.at("fc.weight");
  expect_close(merged.narrow(1, 0, 3), w[0].narrow(1, 0, 3), 1e-5);
  expect_close(merged.narrow(1, 3, 3), w[1].narrow(1, 3, 3), 1e-5);
}

TEST(RegMean, keeps_the_average_in_directions_that_no_input_spans) {
  const at::Tensor x = random(1, 2, 6);  // 2 rows: the sum of the Gram matrices has rank 2
  const std::vector<at::Tensor> w{random(3, 4, 6), random(4, 4, 6)};
  const at::Tensor average = (w[0] + w[1]) / 2;
  expect_close(layer_zoo(w, {x, x}).fuse("regmean{ratio=1}").weights.at("fc.weight"), average, 1e-6);
  const at::Tensor nothing = at::zeros({2, 6});
  expect_close(layer_zoo(w, {nothing, nothing}).fuse("regmean").weights.at("fc.weight"), average, 1e-6);
}

TEST(RegMean, without_off_diagonal_entries_weighs_each_input_alone) {
  const std::vector<at::Tensor> x{random(1, 9, 3), random(2, 9, 3)};
  const std::vector<at::Tensor> w{random(3, 4, 3), random(4, 4, 3)};
  const at::Tensor merged = layer_zoo(w, x).fuse("regmean{ratio=0}").weights.at("fc.weight");
  const at::Tensor a = x[0].square().mean(0);
  const at::Tensor b = x[1].square().mean(0);
  expect_close(merged, (w[0] * a + w[1] * b) / (a + b), 1e-6);
}

}  // namespace
}  // namespace fusegrid::regmean_test
