// To methods of whole tensors, the kernel of a convolution, [out, in, side, side], is the matrix [out, in side side] of
// the affine layer that computes the same.
#include <algorithm>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "fusion/demands.h"
#include "fusion/fusion_input.h"
#include "models/network.h"
#include "support/quick_options.h"
#include "support/small_models.h"
#include "support/test_zoo.h"

namespace fusegrid::kernels_test {
namespace {

bool is_layer(const std::string& name, const at::Tensor& tensor) {
  return role_of({name, tensor.sizes().vec(), tensor.scalar_type()}) == Role::kMatrix;
}

// Its matrices as kernels of 2 x 2 entries.
Weights with_kernels(Weights weights) {
  for (auto& [name, tensor] : weights) {
    if (is_layer(name, tensor)) {
      tensor = tensor.reshape({tensor.size(0), tensor.size(1) / 4, 2, 2});
    }
  }
  return weights;
}

TestZoo with_kernels(TestZoo zoo) {
  zoo.base = with_kernels(zoo.base);
  for (Weights& expert : zoo.experts) {
    expert = with_kernels(expert);
  }
  zoo.cache = std::make_shared<StatisticsCache>(1 << 28, "", at::kCPU);
  return zoo;
}

std::vector<std::string> methods_of_weights_alone() {
  std::vector<std::string> names;
  for (const std::string& name : method_registry().names()) {
    const MethodCard& card = method_registry().at(name).card;
    const bool of_weights = std::all_of(card.needs.begin(), card.needs.end(),
                                        [](Need need) { return need == Need::kPretrained; });
    if (of_weights && card.grain != Grain::kWholeModel) {
      names.push_back(name);
    }
  }
  return names;
}

class EveryMethodOfWeights : public testing::TestWithParam<std::string> {};

TEST_P(EveryMethodOfWeights, MergesKernelsAsMatrices) {
  if (GetParam() == "arcee_fusion" || GetParam() == "randes") {
    GTEST_SKIP() << "it looks along the last axis, whatever that is, as the original does";
  }
  const MethodCard& card = method_registry().at(GetParam()).card;
  const TestZoo zoo =
      random_zoo(static_cast<size_t>(std::clamp<int64_t>(3, card.min_experts, card.max_experts)), 0.05);
  const Merged of_matrices = zoo.fuse(quick(GetParam()));
  const Merged of_kernels = with_kernels(zoo).fuse(quick(GetParam()));
  ASSERT_EQ(of_kernels.weights.size(), of_matrices.weights.size());
  EXPECT_EQ(of_kernels.stored_parameters, of_matrices.stored_parameters);
  int kernels = 0;
  for (const auto& [name, tensor] : of_matrices.weights) {
    const at::Tensor& merged = of_kernels.weights.at(name);
    kernels += merged.dim() == 4 && tensor.dim() == 2 ? 1 : 0;
    EXPECT_TRUE(merged.reshape(tensor.sizes()).equal(tensor)) << name;
  }
  EXPECT_GE(kernels, 12) << "those of two blocks";
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethodOfWeights, testing::ValuesIn(methods_of_weights_alone()),
                         [](const auto& method) { return method.param; });

at::Tensor noise(const std::string& purpose, const std::vector<int64_t>& shape) {
  return normal(derive_key(5, purpose), 0, 0, c10::multiply_integers(shape)).view(shape);
}

// Random models with random heads.
TestZoo zoo_of(const nlohmann::json& config, const std::vector<std::string>& tasks,
               int64_t examples_of_split) {
  TestZoo zoo;
  zoo.network = std::make_shared<Network>();
  zoo.network->architecture = make_architecture(config);
  const Architecture& architecture = *zoo.network->architecture;
  const int64_t size = architecture.input().image_size;
  for (const TensorInfo& info : architecture.parameters()) {
    const at::Tensor values = noise(info.name, info.shape) * 0.5;
    zoo.base.emplace(info.name, info.name.ends_with("running_var") ? values.abs() + 2 : values);
  }
  for (const std::string& task : tasks) {
    zoo.tasks.push_back(task);
    zoo.experts.push_back(perturbed(zoo.base, 0.3, derive_key(6, task)));
    zoo.network->readouts[task] = affine_readout(noise("head" + task, {4, architecture.feature_size()}),
                                                 noise("bias" + task, {4}), Pooling::kMean);
    for (const std::string split : {"train", "val", "test"}) {
      Examples examples;
      examples.inputs.images =
          (noise(task + split, {examples_of_split, 3, size, size}).sigmoid() * 255).to(at::kByte);
      examples.labels = at::arange(examples_of_split, at::kLong).remainder(4);
      zoo.data.set(task, split, examples);
    }
  }
  return zoo;
}

// Perceptrons on the three values of a pixel.
TestZoo pixel_zoo() {
  return zoo_of({{"model_type", "mlp"}, {"image_size", 1}, {"hidden_sizes", {8, 8}}}, {"a", "b"}, 40);
}

// The same matrices in the middle of kernels of 3 x 3 entries: of a pixel and the zeros around it they make the same.
Weights in_the_middle(const Weights& weights) {
  Weights kernels;
  for (const auto& [name, tensor] : weights) {
    kernels[name] = tensor.dim() == 1
                        ? tensor
                        : at::constant_pad_nd(tensor.unsqueeze(2).unsqueeze(3), {1, 1, 1, 1}).contiguous();
  }
  return kernels;
}

TestZoo with_convolutions(TestZoo zoo) {
  zoo.network = std::make_shared<Network>(*zoo.network);
  zoo.network->architecture = make_architecture({{"model_type", "cnn"},
                                                 {"image_size", 1},
                                                 {"hidden_sizes", {8}},
                                                 {"depths", {2}},
                                                 {"pool_last", false}});
  zoo.base = in_the_middle(zoo.base);
  for (Weights& expert : zoo.experts) {
    expert = in_the_middle(expert);
  }
  zoo.cache = std::make_shared<StatisticsCache>(1 << 28, "", at::kCPU);
  return zoo;
}

// Methods that see inputs of layers, or gradients, and those that add to what layers compute.
class MethodOfData : public testing::TestWithParam<std::string> {};

TEST_P(MethodOfData, MergesConvolutionsAsTheLayersThatComputeTheSame) {
  const TestZoo layers = pixel_zoo();
  const TestZoo convolutions = with_convolutions(layers);
  ASSERT_LE(max_error(convolutions.logits_of(convolutions.experts[0], "a"),
                      layers.logits_of(layers.experts[0], "a")),
            1e-5);
  const Merged of_layers = layers.fuse(GetParam());
  const Merged of_convolutions = convolutions.fuse(GetParam());
  for (const std::string& task : layers.tasks) {
    const at::Tensor logits = layers.logits(of_layers, task);
    EXPECT_LE(max_error(convolutions.logits(of_convolutions, task), logits), 1e-3) << task;
    EXPECT_GT(max_error(layers.logits_of(layers.base, task), logits), 0.1)
        << task << ": something was merged";
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, MethodOfData,
                         testing::Values("regmean{ridge=1e-12}", "mats{iterations=5}", "mats{blocks=gram}",
                                         "fisher", "smile", "smile{rank=2,gate_rank=1}",
                                         "layer_wise_adamerging{steps=3}", "twin_merging{steps=3}"));

TestZoo resnet_zoo(size_t experts) {
  const std::vector<std::string> tasks{"a", "b", "c"};
  TestZoo zoo = zoo_of({{"model_type", "resnet_cifar"},
                        {"image_size", 6},
                        {"hidden_sizes", {4, 6}},
                        {"depths", {1, 1}},
                        {"num_channels", 1}},
                       {tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(experts)}, 12);
  zoo.multitask = perturbed(zoo.base, 0.3, 9);
  return zoo;
}

class EveryMethodOfConvolutions : public testing::TestWithParam<std::string> {};

TEST_P(EveryMethodOfConvolutions, AnswersWithRunningStatisticsAmongTheExperts) {
  const Method& method = method_registry().at(GetParam());
  const MethodCard& card = method.card;
  const TestZoo zoo =
      resnet_zoo(static_cast<size_t>(std::clamp<int64_t>(3, card.min_experts, card.max_experts)));
  std::map<std::string, const TaskKind*> kinds;
  for (const std::string& task : zoo.tasks) {
    kinds[task] = &zoo.data.kind(task);
  }
  const std::string call = quick(GetParam());
  try {
    check_demands(method, parse_call(call).second, *zoo.network->architecture, kinds);
  } catch (const ConfigError&) {
    GTEST_SKIP() << "its demands are not met";
  }
  const Merged merged = zoo.fuse(call);
  for (const std::string& task : zoo.tasks) {
    EXPECT_TRUE(zoo.logits(merged, task).isfinite().all().item<bool>()) << task;
  }
  if (card.yields != Yields::kOneModel || card.family == Family::kReference) {
    return;
  }
  for (const auto& [name, tensor] : zoo.base) {
    ASSERT_TRUE(merged.weights.contains(name)) << name;
    EXPECT_EQ(merged.weights.at(name).sizes(), tensor.sizes()) << name;
    if (is_running_statistic(name, tensor)) {
      std::vector<at::Tensor> own;
      for (const Weights& expert : zoo.experts) {
        own.push_back(expert.at(name));
      }
      at::Tensor all = at::stack(own);
      if (card.family == Family::kAlignment) {  // units change their places
        all = all.reshape({-1, 1});
      }
      EXPECT_TRUE((merged.weights.at(name) >= std::get<0>(all.min(0)) - 1e-6).all().item<bool>()) << name;
      EXPECT_TRUE((merged.weights.at(name) <= std::get<0>(all.max(0)) + 1e-6).all().item<bool>()) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMethodOfConvolutions, testing::ValuesIn(method_registry().names()),
                         [](const auto& method) { return method.param; });

}  // namespace
}  // namespace fusegrid::kernels_test
