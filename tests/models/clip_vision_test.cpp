// Golden values: tests/golden/make_clip.py (transformers). The finite-difference and batch tests need no
// reference.
#include "models/clip_vision.h"

#include <filesystem>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/philox.h"
#include "models/network.h"
#include "support/source_folder.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const fs::path kGolden = source_folder() / "tests/golden/clip";

double max_error(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() ? (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() : 1e300;
}

Weights parameters_of(const Architecture& architecture, const HfFolder& folder) {
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    EXPECT_EQ(folder.info(info.name).shape, info.shape) << info.name;
    weights.emplace(info.name, folder.read(info.name));
  }
  return weights;
}

json tiny_config() {
  return {{"model_type", "clip_vision_model"},
          {"hidden_size", 8},
          {"intermediate_size", 12},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"image_size", 6},
          {"patch_size", 3},
          {"projection_dim", 5}};
}

Weights random_weights(const Architecture& architecture, at::ScalarType dtype) {
  Weights weights;
  for (const TensorInfo& info : architecture.parameters()) {
    const at::Tensor values = normal(derive_key(1, info.name), 0, 0, info.numel()).view(info.shape);
    weights.emplace(info.name, (values * 0.4).to(dtype));
  }
  return weights;
}

at::Tensor random_pixels(int64_t batch, int64_t size) {
  return normal(derive_key(2, "pixels"), 0, 0, batch * 3 * size * size).view({batch, 3, size, size});
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, FeaturesAndProjectionAgree) {
  const HfFolder folder(kGolden / GetParam());
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  const auto architecture = make_architecture(folder.config());
  const Weights weights = parameters_of(*architecture, folder);

  const at::Tensor features = architecture->features(weights, expected.read("pixel_values"));

  EXPECT_LE(max_error(features, expected.read("pooled")), 1e-5);
  if (expected.contains("projected")) {
    const at::Tensor matrix = folder.read(architecture->projection()->info.name);
    EXPECT_EQ(matrix.sizes().vec(), architecture->projection()->info.shape);
    EXPECT_LE(max_error(features.matmul(matrix.t()), expected.read("projected")), 1e-5);
  }
}

TEST_P(Golden, HooksSeeTheInputOfEachLinearLayerOnce) {
  const HfFolder folder(kGolden / GetParam());
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  const auto architecture = make_architecture(folder.config());
  const Weights weights = parameters_of(*architecture, folder);
  std::vector<std::string> seen;
  std::vector<std::string> layers;
  for (const LinearLayer& layer : architecture->linear_layers()) {
    layers.push_back(layer.name);
  }

  architecture->features(
      weights, expected.read("pixel_values"),
      [&](const std::string& name, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        seen.push_back(name);
        EXPECT_EQ(x.size(-1), weights.at(name + ".weight").size(1)) << name;
        if (expected.contains("tap/" + name)) {
          EXPECT_LE(max_error(x, expected.read("tap/" + name)), 1e-5) << name;
        }
        return at::linear(x, weight, bias);
      });

  EXPECT_EQ(seen, layers);
}

TEST_P(Golden, GradientsAgree) {
  const HfFolder folder(kGolden / GetParam());
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  if (!expected.contains("probe")) {
    GTEST_SKIP() << "no gradients in this case";
  }
  const auto architecture = make_architecture(folder.config());
  Weights weights = parameters_of(*architecture, folder);
  int compared = 0;
  for (auto& [name, tensor] : weights) {
    if (!expected.contains("gradient/" + name)) {
      continue;
    }
    tensor.requires_grad_(true);
    const at::Tensor features = architecture->features(weights, expected.read("pixel_values"));
    const auto gradient = torch::autograd::grad({(features * expected.read("probe")).sum()}, {tensor});
    EXPECT_LE(max_error(gradient[0], expected.read("gradient/" + name)), 1e-5) << name;
    tensor.requires_grad_(false);
    ++compared;
  }
  EXPECT_GE(compared, 4);
}

INSTANTIATE_TEST_SUITE_P(Clip, Golden,
                         testing::Values("clip_full", "vision_projection_gelu_sharded",
                                         "vision_projection_uneven", "vision_quick_gelu"));

TEST(ClipVision, GradientsAgreeWithFiniteDifferences) {
  const auto architecture = make_architecture(tiny_config());
  Weights weights = random_weights(*architecture, at::kDouble);
  const at::Tensor pixels = random_pixels(2, 6).to(at::kDouble);
  const auto loss = [&] { return architecture->features(weights, pixels).square().sum(); };
  for (auto& [name, tensor] : weights) {
    tensor.requires_grad_(true);
    const at::Tensor gradient = torch::autograd::grad({loss()}, {tensor})[0].contiguous();
    tensor.requires_grad_(false);
    const at::Tensor flat = tensor.view({-1});
    for (const int64_t i : {int64_t{0}, tensor.numel() / 2, tensor.numel() - 1}) {
      constexpr double kStep = 1e-5;
      const double value = flat[i].item<double>();
      flat[i].fill_(value + kStep);
      const double above = loss().item<double>();
      flat[i].fill_(value - kStep);
      const double below = loss().item<double>();
      flat[i].fill_(value);
      const double slope = (above - below) / (2 * kStep);
      EXPECT_NEAR(gradient.view({-1})[i].item<double>(), slope, 1e-6 * (1 + std::abs(slope))) << name << i;
    }
  }
}

TEST(ClipVision, ExamplesOfABatchDoNotSeeEachOther) {
  const auto architecture = make_architecture(tiny_config());
  const Weights weights = random_weights(*architecture, at::kDouble);
  const at::Tensor pixels = random_pixels(5, 6);

  const at::Tensor together = architecture->features(weights, pixels);

  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_LE(max_error(architecture->features(weights, pixels.narrow(0, i, 1)), together.narrow(0, i, 1)),
              1e-12);
  }
}

TEST(ClipVision, TheMlpReadsOnlyTensorsBelowItsPrefix) {
  const auto architecture = make_architecture(tiny_config());
  Weights only;
  for (const auto& [name, tensor] : random_weights(*architecture, at::kFloat)) {
    if (name.starts_with(architecture->mlp_prefix(1))) {
      only.emplace(name, tensor);
    }
  }
  EXPECT_EQ(only.size(), 4U);
  EXPECT_NO_THROW(architecture->mlp(only, 1, at::zeros({1, 5, 8})));
}

TEST(ClipVision, ParametersAreSortedAndCounted) {
  const auto architecture = make_architecture({{"model_type", "clip_vision_model"},
                                               {"hidden_size", 64},
                                               {"intermediate_size", 256},
                                               {"num_hidden_layers", 4},
                                               {"num_attention_heads", 2},
                                               {"image_size", 28},
                                               {"patch_size", 7}});
  int64_t count = 0;
  std::string before;
  for (const TensorInfo& info : architecture->parameters()) {
    EXPECT_LT(before, info.name);
    before = info.name;
    count += info.numel();
  }
  EXPECT_EQ(count, 210752);  // reference/embedded-zoo.md gives the same for the prototype
}

TEST(ClipVision, UnsupportedConfigurationsNameTheField) {
  const std::vector<std::pair<std::string, json>> cases{
      {"hidden_act", "relu"}, {"num_channels", 1},        {"num_attention_heads", 3},
      {"patch_size", 7},      {"hidden_size", -8},        {"layer_norm_eps", 0},
      {"image_size", "6"},    {"num_hidden_layers", 2.5}, {"model_type", "vit"}};
  for (const auto& [field, value] : cases) {
    json config = tiny_config();
    config[field] = value;
    try {
      make_architecture(config);
      FAIL() << "accepted " << field;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr(field));
    }
  }
  EXPECT_THROW(make_architecture(json::array()), ConfigError);
  EXPECT_THROW(make_architecture({{"model_type", "clip"}}), ConfigError);
}

// The layout of openai/clip-vit-base-patch32: both towers, 151 million parameters, in half precision.
Weights base_patch32(const Architecture& architecture) {
  Weights weights;
  const auto put = [&](const std::string& name, std::vector<int64_t> shape) {
    weights.emplace(name, at::zeros(shape, at::kHalf));
  };
  for (const TensorInfo& info : architecture.parameters()) {
    put(info.name, info.shape);
  }
  put("logit_scale", {});
  put("text_projection.weight", {512, 512});
  put("visual_projection.weight", {512, 768});
  put("text_model.embeddings.token_embedding.weight", {49408, 512});
  put("text_model.embeddings.position_embedding.weight", {77, 512});
  put("text_model.final_layer_norm.weight", {512});
  put("text_model.final_layer_norm.bias", {512});
  for (int layer = 0; layer < 12; ++layer) {
    const std::string prefix = "text_model.encoder.layers." + std::to_string(layer) + ".";
    for (const std::string name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      put(prefix + "self_attn." + name + ".weight", {512, 512});
      put(prefix + "self_attn." + name + ".bias", {512});
    }
    for (const std::string name : {"layer_norm1", "layer_norm2"}) {
      put(prefix + name + ".weight", {512});
      put(prefix + name + ".bias", {512});
    }
    put(prefix + "mlp.fc1.weight", {2048, 512});
    put(prefix + "mlp.fc1.bias", {2048});
    put(prefix + "mlp.fc2.weight", {512, 2048});
    put(prefix + "mlp.fc2.bias", {512});
  }
  return weights;
}

TEST(ClipVision, TheLayoutOfBasePatch32Loads) {
  const json config{{"model_type", "clip"}, {"projection_dim", 512}, {"vision_config", json::object()}};
  Network network;
  network.architecture = make_architecture(config);
  Weights whole = base_patch32(*network.architecture);
  int64_t count = 0;
  for (const auto& [name, tensor] : whole) {
    count += tensor.numel();
  }
  EXPECT_EQ(count, 151277313);  // the published size of the model
  whole.at("vision_model.post_layernorm.bias").fill_(1);
  whole.at("visual_projection.weight").fill_(1);
  const fs::path folder = fs::path(testing::TempDir()) / "fusegrid_base_patch32";
  fs::remove_all(folder);
  save_hf_folder(folder, whole, config);
  whole.clear();
  const HfFolder opened(folder);

  Weights weights;
  for (const auto& [name, tensor] : parameters_of(*network.architecture, opened)) {
    weights.emplace(name, tensor.to(at::kFloat));
  }
  network.projection = opened.read(network.architecture->projection()->info.name).to(at::kFloat);
  const at::NoGradGuard no_grad;
  const at::Tensor embeddings =
      network.embeddings(network.architecture->features(weights, random_pixels(1, 224)));
  fs::remove_all(folder);

  EXPECT_TRUE(network.architecture->projection()->required);
  ASSERT_EQ(embeddings.sizes().vec(), (std::vector<int64_t>{1, 512}));
  EXPECT_NEAR(embeddings[0][0].item<double>(), 1 / std::sqrt(512.0), 1e-6);
}

}  // namespace
}  // namespace fusegrid
