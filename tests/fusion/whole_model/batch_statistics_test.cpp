#include "fusion/whole_model/batch_statistics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/concatenate.h"
#include "models/channel_norm.h"
#include "support/small_models.h"

namespace fusegrid::batch_statistics_test {
namespace {

using nlohmann::json;

Network network_of(const json& config) {
  Network network;
  network.architecture = make_architecture(config);
  return network;
}

json resnet() {
  return {{"model_type", "resnet_cifar"}, {"image_size", 8}, {"hidden_sizes", {4, 6}}, {"depths", {1, 2}}};
}

json vgg(const std::string& norm) {
  return {
      {"model_type", "cnn"}, {"image_size", 8}, {"hidden_sizes", {4, 6}}, {"depths", {1, 2}}, {"norm", norm}};
}

json mlp() {
  return {{"model_type", "mlp"}, {"image_size", 4}, {"hidden_sizes", {7, 5, 6}}};
}

Inputs images_of(uint64_t key, int64_t count, int64_t size) {
  Inputs inputs;
  inputs.images = normal(key, 0, 0, count * 3 * size * size).view({count, 3, size, size}).to(at::kDouble);
  return inputs;
}

Weights other_weights(const Network& network) {
  Weights weights = random_weights(*network.architecture);
  for (auto& [name, tensor] : weights) {
    const at::Tensor noise = normal(derive_key(11, name), 0, 0, tensor.numel()).view(tensor.sizes());
    tensor = name.ends_with("running_var") ? tensor : tensor + 0.3 * noise;
  }
  return weights;
}

TEST(HasRunningStatistics, IsToldByTheTensors) {
  EXPECT_TRUE(has_running_statistics(*make_architecture(resnet())));
  EXPECT_TRUE(has_running_statistics(*make_architecture(vgg("batch"))));
  EXPECT_FALSE(has_running_statistics(*make_architecture(vgg("none"))));
  EXPECT_FALSE(has_running_statistics(*make_architecture(mlp())));
}

TEST(WithMeanStatistics, ChangesThemAlone) {
  const Network network = network_of(resnet());
  const Weights first = random_weights(*network.architecture);
  Weights second = other_weights(network);
  second["embedder.embedder.normalization.running_var"].mul_(3);
  const Weights base = other_weights(network);
  for (const auto& [name, tensor] : with_mean_statistics(base, {first, second})) {
    const bool is_statistic = name.ends_with("running_mean") || name.ends_with("running_var");
    const at::Tensor expected = is_statistic ? (first.at(name) + second.at(name)) / 2 : base.at(name);
    EXPECT_LE(max_error(tensor, expected), 1e-15) << name;
  }
}

// A pass with them computes then what a pass with the batch's own computes; but running variances are unbiased, which
// of n values are n / (n - 1) of those that a batch is normed with.
TEST(ReEstimated, OfOneBatchAreItsOwn) {
  for (const json& config : {resnet(), vgg("batch")}) {
    const Network network = network_of(config);
    const Weights weights = random_weights(*network.architecture);
    const Inputs batch = images_of(3, 5, 8);
    double values = 0;                        // of a channel, that the last layer made
    std::map<std::string, double> values_of;  // that each norm saw
    const Pass asking{
        .layer =
            [&](const Layer&, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
              values = static_cast<double>(x.size(0) * x.size(1));
              return at::linear(x, weight, bias);
            },
        .batch_statistics = [&](const std::string& norm, const at::Tensor&,
                                const at::Tensor&) { values_of[norm] = values; }};
    const at::Tensor by_batch = network.features(weights, batch, asking);

    Weights made = re_estimated(network, weights, {batch});

    for (const auto& [name, tensor] : made) {
      const bool is_statistic = name.ends_with("running_mean") || name.ends_with("running_var");
      EXPECT_EQ(tensor.equal(weights.at(name)), !is_statistic) << name;
    }
    EXPECT_FALSE(values_of.empty());
    for (const auto& [norm, n] : values_of) {
      made[running_variance_of(norm)] = made.at(running_variance_of(norm)) * ((n - 1) / n);
    }
    EXPECT_LE(max_error(network.features(made, batch), by_batch), 1e-11);
  }
}

TEST(ReEstimated, AreThoseOfWhatANormReads) {
  const Network network = network_of(vgg("batch"));
  const Weights weights = random_weights(*network.architecture);
  const Inputs batch = images_of(3, 5, 8);
  const at::Tensor read = apply(network.architecture->layers().front(), weights, batch.images, {});
  const Weights made = re_estimated(network, weights, {batch});
  EXPECT_LE(max_error(made.at("layers.0.norm.running_mean"), read.mean({0, 2, 3})), 1e-13);
  EXPECT_LE(max_error(made.at("layers.0.norm.running_var"), read.var({0, 2, 3}, /*unbiased=*/true)), 1e-12);
}

TEST(ReEstimated, OfSeveralBatchesAreTheMeanOfTheirs) {
  const Network network = network_of(resnet());
  const Weights weights = random_weights(*network.architecture);
  const Inputs first = images_of(3, 5, 8);
  const Inputs second = images_of(4, 7, 8);
  const Weights of_first = re_estimated(network, weights, {first});
  const Weights of_second = re_estimated(network, weights, {second});
  for (const auto& [name, tensor] : re_estimated(network, weights, {first, second})) {
    EXPECT_LE(max_error(tensor, (of_first.at(name) + of_second.at(name)) / 2), 1e-13) << name;
  }
}

TEST(ReEstimated, WithoutBatchNormNothingChanges) {
  const Network network = network_of(vgg("none"));
  const Weights weights = random_weights(*network.architecture);
  for (const auto& [name, tensor] : re_estimated(network, weights, {images_of(3, 2, 8)})) {
    EXPECT_TRUE(tensor.equal(weights.at(name))) << name;
  }
}

TEST(IsRepairable, WithoutNormsAndWithBiases) {
  EXPECT_TRUE(is_repairable(*make_architecture(mlp())));
  EXPECT_TRUE(is_repairable(*make_architecture(vgg("none"))));
  EXPECT_FALSE(is_repairable(*make_architecture(vgg("batch"))));
  EXPECT_FALSE(is_repairable(*make_architecture(resnet())));
  EXPECT_FALSE(is_repairable(*make_architecture({{"model_type", "vit"}})));
}

struct Moment {
  at::Tensor mean, deviation;
};

// Of the outputs of each layer over all batches.
std::map<std::string, Moment> moments(const Network& network, const Weights& weights,
                                      const std::vector<Inputs>& batches) {
  std::map<std::string, std::vector<at::Tensor>> outputs;
  for (const Inputs& batch : batches) {
    network.features(weights, batch,
                     {.layer = [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias) {
                       const at::Tensor y = at::linear(x, weight, bias);
                       outputs[layer.name].push_back(y.reshape({-1, y.size(-1)}));
                       return y;
                     }});
  }
  std::map<std::string, Moment> all;
  for (const auto& [layer, parts] : outputs) {
    const at::Tensor y = concatenate(parts, 0);
    all[layer] = {y.mean(0), y.std(0, /*unbiased=*/false)};
  }
  return all;
}

TEST(Repaired, OutputsHaveTheMomentsOfTheModelsOnAverage) {
  for (const json& config : {mlp(), vgg("none")}) {
    const Network network = network_of(config);
    const int64_t size = network.architecture->input().image_size;
    const std::vector<Inputs> batches{images_of(3, 40, size), images_of(4, 25, size)};
    const Weights first = random_weights(*network.architecture);
    const Weights second = other_weights(network);
    Weights merged;
    for (const auto& [name, tensor] : first) {
      merged.emplace(name, 0.7 * tensor + 0.3 * second.at(name));
    }
    const Weights untouched = merged;

    const Weights made = repaired(network, merged, {&first, &second}, {0.7, 0.3}, batches);

    const auto of_first = moments(network, first, batches);
    const auto of_second = moments(network, second, batches);
    const auto before = moments(network, merged, batches);
    double moved = 0;
    for (const auto& [layer, moment] : moments(network, made, batches)) {
      const at::Tensor mean = 0.7 * of_first.at(layer).mean + 0.3 * of_second.at(layer).mean;
      const at::Tensor deviation = 0.7 * of_first.at(layer).deviation + 0.3 * of_second.at(layer).deviation;
      EXPECT_LE(max_error(moment.mean, mean), 1e-12) << layer;
      EXPECT_LE(max_error(moment.deviation / deviation, at::ones_like(deviation)), 2e-3)
          << layer << ": 1e-4 is added";
      moved = std::max(moved, max_error(before.at(layer).deviation, deviation));
    }
    EXPECT_GT(moved, 0.05);
    for (const auto& [name, tensor] : merged) {
      EXPECT_TRUE(tensor.equal(untouched.at(name))) << name;
    }
  }
}

TEST(Repaired, AModelMergedWithItselfStaysItself) {
  const Network network = network_of(mlp());
  const Weights weights = random_weights(*network.architecture);
  const std::vector<Inputs> batches{images_of(3, 40, 4)};
  const Weights made = repaired(network, weights, {&weights, &weights}, {0.5, 0.5}, batches);
  EXPECT_LE(max_error(network.features(made, batches[0]), network.features(weights, batches[0])), 5e-3);
}

TEST(Repaired, AUnitThatIsDeadStaysFinite) {
  const Network network = network_of(mlp());
  Weights first = random_weights(*network.architecture);
  first["layers.0.weight"].zero_();
  const Weights second = random_weights(*network.architecture);
  for (const auto& [name, tensor] :
       repaired(network, first, {&first, &second}, {0.5, 0.5}, {images_of(3, 9, 4)})) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
  }
}

}  // namespace
}  // namespace fusegrid::batch_statistics_test
