// Golden values: tests/golden/make_clip.py (transformers). What holds for every family: tests/models/families_test.cpp.
#include <cmath>
#include <filesystem>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "models/network.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::clip_vision_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const fs::path kGolden = source_folder() / "tests/golden/clip";

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

Inputs pixels_of(const SafetensorsFile& expected) {
  Inputs inputs;
  inputs.images = expected.read("pixel_values");
  return inputs;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, FeaturesAndProjectionAgree) {
  const HfFolder folder(kGolden / GetParam());
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  const auto architecture = make_architecture(folder.config());
  const Weights weights = read_parameters(*architecture, folder);

  const at::Tensor features = architecture->features(weights, pixels_of(expected), Pooling::kFirst);

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
  const Weights weights = read_parameters(*architecture, folder);
  std::vector<std::string> seen;
  std::vector<std::string> layers;
  for (const Layer& layer : architecture->layers()) {
    layers.push_back(layer.name);
  }

  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        seen.push_back(layer.name);
        EXPECT_EQ(x.size(-1), weights.at(layer.weight).size(1)) << layer.name;
        if (expected.contains("tap/" + layer.name)) {
          EXPECT_LE(max_error(x, expected.read("tap/" + layer.name)), 1e-5) << layer.name;
        }
        return at::linear(x, weight, bias);
      }};
  architecture->features(weights, pixels_of(expected), Pooling::kFirst, pass);

  EXPECT_EQ(seen, layers);
}

TEST_P(Golden, GradientsAgree) {
  const HfFolder folder(kGolden / GetParam());
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  if (!expected.contains("probe")) {
    GTEST_SKIP() << "no gradients in this case";
  }
  const auto architecture = make_architecture(folder.config());
  Weights weights = read_parameters(*architecture, folder);
  int compared = 0;
  for (auto& [name, tensor] : weights) {
    if (!expected.contains("gradient/" + name)) {
      continue;
    }
    tensor.requires_grad_(true);
    const at::Tensor features = architecture->features(weights, pixels_of(expected), Pooling::kFirst);
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

TEST(ClipVision, ParametersAreCounted) {
  const auto architecture = make_architecture({{"model_type", "clip_vision_model"},
                                               {"hidden_size", 64},
                                               {"intermediate_size", 256},
                                               {"num_hidden_layers", 4},
                                               {"num_attention_heads", 2},
                                               {"image_size", 28},
                                               {"patch_size", 7}});
  int64_t count = 0;
  for (const TensorInfo& info : architecture->parameters()) {
    count += info.numel();
  }
  EXPECT_EQ(count, 210752);  // reference/embedded-zoo.md gives the same for the prototype
}

TEST(ClipVision, UnsupportedConfigurationsNameTheField) {
  const std::vector<std::pair<std::string, json>> cases{
      {"hidden_act", "relu"}, {"num_channels", 1},        {"num_attention_heads", 3},
      {"patch_size", 7},      {"hidden_size", -8},        {"layer_norm_eps", 0},
      {"image_size", "6"},    {"num_hidden_layers", 2.5}, {"model_type", "deit"}};
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

TEST(ClipVision, NamesInFilesMayLackThePrefix) {
  const auto architecture = make_architecture({{"model_type", "clip_vision_model"}});
  EXPECT_EQ(architecture->names_in_files("vision_model.post_layernorm.bias"),
            (std::vector<std::string>{"vision_model.post_layernorm.bias", "post_layernorm.bias"}));
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
  for (const auto& [name, tensor] : read_parameters(*network.architecture, opened)) {
    weights.emplace(name, tensor.to(at::kFloat));
  }
  const at::Tensor projection = opened.read(network.architecture->projection()->info.name).to(at::kFloat);
  network.readouts["ones"] = cosine_readout(at::ones({1, 512}) / std::sqrt(512.0), 10, projection);
  const at::NoGradGuard no_grad;
  const at::Tensor answer = network.output(weights, random_images(1, 224), "ones");
  fs::remove_all(folder);

  EXPECT_TRUE(network.architecture->projection()->required);
  EXPECT_EQ(projection.sizes().vec(), network.architecture->projection()->info.shape);
  ASSERT_EQ(answer.sizes().vec(), (std::vector<int64_t>{1, 1}));
  EXPECT_NEAR(answer.item<double>(), 10, 1e-4);  // every entry of the embedding is equal
}

}  // namespace
}  // namespace fusegrid::clip_vision_test
