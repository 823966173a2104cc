#include <ATen/ops/matmul.h>
#include <nlohmann/json.hpp>

#include "methods/surgery_checks.h"
#include "models/network.h"

namespace fusegrid::surgery_v2_test {
namespace {

at::Tensor adapted(const Weights& adapters, const std::string& task, int64_t place, const at::Tensor& z) {
  const std::string prefix = "adapter/" + task + "/" + std::to_string(place);
  const at::Tensor hidden = at::matmul(z, adapters.at(prefix + "/down").to(z.scalar_type()).t()).clamp_min(0);
  return z - at::matmul(hidden, adapters.at(prefix + "/up").to(z.scalar_type()).t());
}

Weights in_double(const Weights& weights) {
  Weights all;
  for (const auto& [name, tensor] : weights) {
    all.emplace(name, tensor.is_floating_point() ? tensor.to(at::kDouble) : tensor);
  }
  return all;
}

struct Places {
  std::vector<at::Tensor> means;
  at::Tensor features;
};

// Of all test inputs of a task, float64, block by block.
Places places_of(const TestZoo& zoo, const Weights& model, const std::string& task, const Weights& adapters) {
  const Weights weights = in_double(model);
  const Blocks& blocks = *zoo.network->architecture->blocks();
  const Inputs inputs = zoo.network->ready(zoo.data.examples(task, "test", -1).inputs);
  Places places;
  at::Tensor x = blocks.embed(weights, inputs);
  for (int64_t block = 0; block < blocks.size(); ++block) {
    x = blocks.attention(weights, block, x, {}, {});
    x = blocks.add_mlp(weights, block, x,
                       blocks.mlp(weights, block, blocks.mlp_input(weights, block, x), {}));
    x = adapters.empty() ? x : adapted(adapters, task, block, x);
    places.means.push_back(x.mean(1));
  }
  const at::Tensor features = blocks.finish(weights, x, inputs, zoo.network->pooling());
  places.features = adapters.empty() ? features : adapted(adapters, task, blocks.size(), features);
  return places;
}

double distance(const Places& a, const Places& b) {
  double sum = (a.features - b.features).abs().mean().item<double>();
  for (size_t block = 0; block < a.means.size(); ++block) {
    sum += (a.means[block] - b.means[block]).abs().mean().item<double>();
  }
  return sum;
}

// Adam's first step is lr against the sign of the gradient, which finite differences tell too. The matrices `up` begin
// at 0, so that those of the matrices `down` have no gradient yet.
TEST(SurgeryV2, moves_each_adapter_against_its_finite_difference) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged start = zoo.fuse("surgery_v2{steps=0,rank=2}");
  const Merged stepped = zoo.fuse("surgery_v2{steps=1,batch=20,rank=2,lr=0.001}");
  const Weights merged = merged_part(start);
  const Places expert = places_of(zoo, zoo.experts[0], "task0", {});
  constexpr double kStep = 1e-6;
  int64_t clear = 0;
  for (int64_t place = 0; place < 3; ++place) {
    const std::string name = "adapter/task0/" + std::to_string(place);
    EXPECT_TRUE(stepped.weights.at(name + "/down").equal(start.weights.at(name + "/down")));
    for (int64_t row = 0; row < 8; ++row) {
      const auto moved_by = [&](double by) {
        Weights adapters = in_double(adapters_of(start));
        adapters.at(name + "/up")[row][0] += by;
        return distance(places_of(zoo, merged, "task0", adapters), expert);
      };
      const double slope = (moved_by(kStep) - moved_by(-kStep)) / (2 * kStep);
      if (std::abs(slope) > 1e-3) {
        ++clear;
        EXPECT_NEAR(stepped.weights.at(name + "/up")[row][0].item<double>(), slope > 0 ? -0.001 : 0.001, 1e-5)
            << name << " " << row << " " << slope;
      }
    }
  }
  EXPECT_GT(clear, 12) << "the test needs clear slopes";
}

TEST(SurgeryV2, answers_with_an_adapter_behind_each_block_and_behind_the_features) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged trained = zoo.fuse("surgery_v2{steps=5,batch=8,rank=3,lr=0.05}");
  const Weights merged = merged_part(trained);
  const Places places = places_of(zoo, merged, "task1", adapters_of(trained));
  const at::Tensor expected = zoo.network->read(merged, places.features, "task1");
  expect_close(zoo.logits(trained, "task1"), expected, 1e-4);
  EXPECT_GT((zoo.logits_of(merged, "task1") - expected).abs().max().item<double>(), 0.01);
}

TEST(SurgeryV2, brings_blocks_and_features_nearer_to_the_experts) {
  const TestZoo zoo = random_zoo(2, 0.3);
  const Merged trained = zoo.fuse("surgery_v2{steps=40,batch=20,rank=4,lr=0.01}");
  const Weights merged = merged_part(trained);
  const Places expert = places_of(zoo, zoo.experts[1], "task1", {});
  EXPECT_LT(distance(places_of(zoo, merged, "task1", adapters_of(trained)), expert),
            0.8 * distance(places_of(zoo, merged, "task1", {}), expert));
}

TEST(SurgeryV2, without_steps_changes_nothing) {
  expect_surgery_without_steps_changes_nothing("surgery_v2");
}

TEST(SurgeryV2, leaves_the_merged_model_alone) {
  expect_surgery_leaves_the_merged_model_alone("surgery_v2");
}

TEST(SurgeryV2, of_a_task_sees_its_inputs_alone) {
  expect_surgery_of_a_task_to_see_its_inputs_alone("surgery_v2");
}

TEST(SurgeryV2, has_no_answer_to_unseen_tasks) {
  expect_surgery_has_no_answer_to_unseen_tasks("surgery_v2");
}

TEST(SurgeryV2, of_models_without_blocks_is_refused) {
  const TestZoo zoo = random_zoo(2);
  zoo.network->architecture = make_architecture(
      {{"model_type", "mlp"}, {"image_size", 8}, {"hidden_sizes", nlohmann::json::array({2})}});
  EXPECT_THAT(
      [&] { zoo.fuse("surgery_v2"); },
      testing::ThrowsMessage<ConfigError>(testing::HasSubstr("'surgery_v2' needs a stack of blocks")));
}

}  // namespace
}  // namespace fusegrid::surgery_v2_test
