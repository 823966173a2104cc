// What holds for every registered family of models.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/philox.h"
#include "core/role.h"
#include "models/architecture.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::families_test {
namespace {

using nlohmann::json;

// File of src/models/families -> the model types that it registers.
const std::map<std::string, std::set<std::string>> kTypesOfFiles{
    {"beit3", {"beit3"}}, {"bert", {"bert", "camembert", "roberta", "xlm-roberta"}},
    {"clip", {"clip"}},   {"clip_vision", {"clip_vision_model"}},
    {"cnn", {"cnn"}},     {"dit", {"dit"}},
    {"gpt2", {"gpt2"}},   {"llama", {"llama", "mistral", "mixtral", "qwen2"}},
    {"mlp", {"mlp"}},     {"resnet", {"resnet", "resnet_cifar"}},
    {"t5", {"t5"}},       {"vit", {"vit"}},
};

json small_tower() {
  return {{"hidden_size", 8},         {"intermediate_size", 12}, {"num_hidden_layers", 2},
          {"num_attention_heads", 2}, {"image_size", 7},         {"patch_size", 3}};
}

json small_encoder(int64_t position_rows, int64_t types) {
  return {{"hidden_size", 8},         {"intermediate_size", 12}, {"num_hidden_layers", 2},
          {"num_attention_heads", 2}, {"vocab_size", 11},        {"max_position_embeddings", position_rows},
          {"type_vocab_size", types}};
}

// A head of its own would be a parameter that features do not depend on.
json small_decoder() {
  return {{"hidden_size", 8},
          {"intermediate_size", 12},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"vocab_size", 11},
          {"head_dim", 4},
          {"max_position_embeddings", 9},
          {"tie_word_embeddings", true}};
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

json small_config(const std::string& type) {
  const std::map<std::string, json> configs{
      {"beit3",
       {{"encoder_embed_dim", 8},
        {"encoder_ffn_embed_dim", 12},
        {"encoder_layers", 2},
        {"encoder_attention_heads", 2},
        {"img_size", 7},
        {"patch_size", 3},
        {"vocab_size", 11},
        {"max_source_positions", 11}}},
      {"bert", small_encoder(9, 2)},
      {"camembert", small_encoder(11, 1)},
      // the tower of images; both towers: clip_test.cpp
      {"clip", {{"projection_dim", 5}, {"vision_config", small_tower()}}},
      {"clip_vision_model", small_tower()},
      {"cnn", {{"image_size", 9}, {"hidden_sizes", {4, 5}}, {"depths", {1, 2}}, {"norm", "batch"}}},
      {"dit",
       {{"num_attention_heads", 2},
        {"attention_head_dim", 4},
        {"in_channels", 2},
        {"num_layers", 2},
        {"sample_size", 6},
        {"patch_size", 2},
        {"num_embeds_ada_norm", 5}}},
      {"gpt2", {{"n_embd", 8}, {"n_layer", 2}, {"n_head", 2}, {"vocab_size", 11}, {"n_positions", 9}}},
      {"llama", with(small_decoder(), {{"attention_bias", true}, {"mlp_bias", true}})},
      {"mistral", with(small_decoder(), {{"head_dim", nullptr}})},
      {"mixtral", with(small_decoder(), {{"num_local_experts", 3}})},
      {"qwen2", small_decoder()},
      {"mlp", {{"image_size", 3}, {"hidden_sizes", {7, 5, 6}}, {"hidden_act", "gelu"}}},
      {"resnet", {{"image_size", 20}, {"embedding_size", 4}, {"hidden_sizes", {8, 12}}, {"depths", {1, 2}}}},
      {"resnet_cifar", {{"image_size", 9}, {"hidden_sizes", {4, 5}}, {"depths", {1, 2}}, {"norm", "layer"}}},
      {"roberta", small_encoder(11, 1)},
      {"t5",
       {{"d_model", 8},
        {"num_heads", 2},
        {"d_kv", 3},
        {"d_ff", 12},
        {"num_layers", 2},
        {"vocab_size", 11},
        {"n_positions", 9},
        {"relative_attention_num_buckets", 6},
        {"relative_attention_max_distance", 8},
        {"feed_forward_proj", "gated-gelu"},
        {"decoder_start_token_id", 4}}},
      {"vit", small_tower()},
      {"xlm-roberta", small_encoder(11, 0)},
  };
  json config = configs.at(type);  // a new family needs a line above
  config["model_type"] = type;
  return config;
}

// What has no default, or one that follows another field.
json shortest_config(const std::string& type) {
  const std::map<std::string, json> configs{
      {"clip", {{"vision_config", json::object()}}},
      {"cnn", {{"image_size", 8}, {"hidden_sizes", {4, 5}}}},
      {"gpt2", {{"n_inner", 3072}}},
      {"llama", {{"num_key_value_heads", 8}, {"head_dim", 128}}},
      {"mistral", {{"head_dim", 128}}},
      {"mixtral", {{"head_dim", 128}}},
      {"mlp", {{"image_size", 8}, {"hidden_sizes", {4, 5}}}},
      {"resnet_cifar", {{"image_size", 8}, {"hidden_sizes", {4, 8}}, {"depths", {1, 1}}}},
      {"t5", {{"decoder_start_token_id", 3}, {"num_decoder_layers", 5}}},
      {"qwen2", {{"num_key_value_heads", 8}, {"head_dim", 128}}},
  };
  json config = configs.contains(type) ? configs.at(type) : json::object();
  config["model_type"] = type;
  return config;
}

bool has_answers(const Architecture& architecture) {
  return architecture.input().answer_start.has_value();
}

// Examples of different lengths where the architecture reads tokens, and where it answers, of different answers.
Inputs examples_of(const Architecture& architecture) {
  const InputFormat format = architecture.input();
  if (format.image_size > 0 && !format.together) {
    return random_images(3, format.image_size);
  }
  if (format.state_size > 0) {
    return random_states(3, format);
  }
  Inputs inputs = random_tokens({5, format.positions, 1}, format.vocabulary);
  if (format.together) {
    inputs.images = random_images(3, format.image_size).images;
  }
  if (has_answers(architecture)) {
    const Inputs answers = random_tokens({3, 0, 7}, format.vocabulary);
    inputs.answer = answers.tokens;
    inputs.answer_lengths = answers.lengths;
  }
  return inputs;
}

// Convolutional networks pool the positions of a map, none of which is the first or the last token.
bool has_map(const Architecture& architecture) {
  const auto layers = architecture.layers();
  return !layers.empty() && layers.front().convolution.has_value();
}

bool has_one_row(const Architecture& architecture) {
  return architecture.num_tokens() == 1;
}

std::vector<Pooling> poolings_of(const Architecture& architecture) {
  if (has_answers(architecture)) {
    return {Pooling::kNone};
  }
  std::vector<Pooling> all{Pooling::kMean, Pooling::kFirst, Pooling::kLast};
  if (!has_one_row(architecture)) {
    all.push_back(Pooling::kNone);
  }
  return all;
}

// Features of one example, without those of rows that fill it up.
at::Tensor counting_features(const at::Tensor& features, const Inputs& inputs, int64_t example) {
  if (features.dim() == 2 || !inputs.tokens.defined()) {
    return features[example];
  }
  const at::Tensor counting =
      inputs.counting(inputs.answer.defined() ? Rows::kAnswer : Rows::kSequence, features.size(1));
  return features[example].narrow(0, 0, counting[example].sum().item<int64_t>());
}

class EveryFamily : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Architecture> architecture = make_architecture(small_config(GetParam()));
  Weights weights = random_weights(*architecture);
  Inputs inputs = examples_of(*architecture);
  Pooling usual = poolings_of(*architecture).front();

  at::Tensor features(const Weights& from, Pooling pooling, const Pass& pass = {}) const {
    return architecture->features(from, inputs, pooling, pass);
  }
  at::Tensor features(const Weights& from, const Pass& pass = {}) const {
    return features(from, usual, pass);
  }
  // What passes through all layers: as pairs, where an architecture has heads of those.
  void use_all_layers() { inputs.pairs = architecture->input().together; }
};

TEST_P(EveryFamily, ParametersAreSortedAndEachOnce) {
  std::string before;
  for (const TensorInfo& info : architecture->parameters()) {
    EXPECT_LT(before, info.name);
    EXPECT_GT(info.numel(), 0) << info.name;
    EXPECT_EQ(architecture->names_in_files(info.name).front(), info.name);
    before = info.name;
  }
}

TEST_P(EveryFamily, LayersAreMatricesOrKernelsAmongTheParameters) {
  std::set<std::string> names;
  for (const Layer& layer : architecture->layers()) {
    EXPECT_TRUE(names.insert(layer.name).second) << layer.name;
    ASSERT_TRUE(weights.contains(layer.weight)) << layer.weight;
    ASSERT_EQ(weights.at(layer.weight).dim(), layer.convolution ? 4 : 2) << layer.weight;
    if (weights.contains(layer.bias)) {
      EXPECT_EQ(weights.at(layer.bias).sizes().vec(), std::vector<int64_t>{weights.at(layer.weight).size(0)});
    }
  }
}

TEST_P(EveryFamily, ItsMatricesAreThoseOfItsLayers) {
  std::set<std::string> of_layers;
  for (const Layer& layer : architecture->layers()) {
    of_layers.insert(layer.weight);
  }
  std::set<std::string> by_role;
  for (const TensorInfo& info : architecture->parameters()) {
    const auto head = architecture->own_head();
    const bool is_head = head && head->weight == info.name;  // which a readout applies
    const Role role = role_of(info);
    if ((role == Role::kMatrix || role == Role::kConvolution) && !is_head) {
      by_role.insert(info.name);
    }
  }
  EXPECT_EQ(by_role, of_layers);
}

TEST_P(EveryFamily, HooksSeeEachLayerOnceInOrder) {
  use_all_layers();
  std::vector<std::string> layers;
  for (const Layer& layer : architecture->layers()) {
    layers.push_back(layer.name);
  }
  std::vector<std::string> seen;
  std::map<std::string, at::Tensor> inputs_by_key;
  const Pass observing{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        seen.push_back(layer.name);
        EXPECT_EQ(weight.data_ptr(), weights.at(layer.weight).data_ptr()) << layer.name;
        EXPECT_EQ(x.size(0), inputs.size()) << layer.name;
        EXPECT_EQ(x.size(-1), weight.size(1)) << layer.name;
        EXPECT_EQ(weight.dim(), 2) << layer.name;
        if (const at::Tensor counting = counting_rows(layer, inputs, x); counting.defined()) {
          EXPECT_EQ(counting.sizes().vec(), x.sizes().slice(0, 2).vec()) << layer.name;
        } else {
          EXPECT_TRUE(x.dim() != 3 || inputs.images.defined() || inputs.state.defined()) << layer.name;
        }
        EXPECT_TRUE(inputs_by_key.emplace(layer.input, x).first->second.equal(x)) << layer.name;
        return at::linear(x, weight, bias);
      }};

  const at::Tensor observed = features(weights, observing);

  EXPECT_EQ(seen, layers);
  if (has_map(*architecture)) {
    EXPECT_LE(max_error(observed, features(weights)), 1e-12);  // unfolded, sums are in another order
  } else {
    EXPECT_TRUE(observed.equal(features(weights)));
  }
}

TEST_P(EveryFamily, WhatAHookGivesIsUsed) {
  if (architecture->layers().empty()) {
    GTEST_SKIP() << "has no affine layers";
  }
  use_all_layers();
  const at::Tensor plain = features(weights);
  for (const Layer& changed : architecture->layers()) {
    const Pass zeroing{
        [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
          return at::linear(x, weight, bias) * (layer.name == changed.name ? 0.0 : 1.0);
        }};
    EXPECT_GT(max_error(features(weights, zeroing), plain), 1e-6) << changed.name;
  }
}

TEST_P(EveryFamily, FeaturesHaveTheirShapeInTheDtypeOfTheWeights) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const Weights cast = random_weights(*architecture, dtype);
    for (const Pooling pooling : poolings_of(*architecture)) {
      std::vector<int64_t> shape{inputs.size(), architecture->feature_size()};
      if (pooling == Pooling::kNone) {
        shape.insert(shape.begin() + 1,
                     has_answers(*architecture) ? inputs.answer.size(1) + 1 : architecture->num_tokens());
      }
      EXPECT_EQ(features(cast, pooling).sizes().vec(), shape) << to_string(pooling);
      EXPECT_EQ(features(cast, pooling).scalar_type(), dtype) << to_string(pooling);
      EXPECT_LE(max_error(features(cast, pooling), features(weights, pooling)), 1e-4) << to_string(pooling);
    }
  }
  if (has_one_row(*architecture)) {
    EXPECT_THROW(features(weights, Pooling::kNone), ConfigError);
  }
}

TEST_P(EveryFamily, PoolingsAreThoseOfTheRowsThatCount) {
  if (has_answers(*architecture)) {
    for (const Pooling pooling : {Pooling::kFirst, Pooling::kLast, Pooling::kMean}) {
      EXPECT_THROW(features(weights, pooling), ConfigError);
    }
    return;
  }
  if (has_one_row(*architecture) || has_map(*architecture)) {
    EXPECT_TRUE(features(weights, Pooling::kFirst).equal(features(weights, Pooling::kMean)));
    EXPECT_TRUE(features(weights, Pooling::kLast).equal(features(weights, Pooling::kMean)));
  }
  if (has_one_row(*architecture)) {
    return;
  }
  const at::Tensor rows = features(weights, Pooling::kNone);
  if (has_map(*architecture)) {
    EXPECT_LE(max_error(features(weights, Pooling::kMean), rows.mean(1)), 1e-12);
    return;
  }
  for (int64_t i = 0; i < inputs.size(); ++i) {
    const int64_t of_image = inputs.tokens.defined() ? rows.size(1) - inputs.tokens.size(1) : rows.size(1);
    const int64_t count = of_image + (inputs.tokens.defined() ? inputs.lengths[i].item<int64_t>() : 0);
    EXPECT_LE(max_error(features(weights, Pooling::kFirst)[i], rows[i][0]), 1e-12);
    EXPECT_LE(max_error(features(weights, Pooling::kLast)[i], rows[i][count - 1]), 1e-12);
    EXPECT_LE(max_error(features(weights, Pooling::kMean)[i], rows[i].narrow(0, 0, count).mean(0)), 1e-12);
  }
}

TEST_P(EveryFamily, ExamplesDoNotSeeEachOtherNorWhatFillsThemUp) {
  for (const Pooling pooling : poolings_of(*architecture)) {
    const at::Tensor together = features(weights, pooling);
    for (int64_t i = 0; i < inputs.size(); ++i) {
      Inputs alone = inputs.rows(i, 1);
      if (alone.tokens.defined()) {
        alone.tokens = alone.tokens.narrow(1, 0, alone.lengths.item<int64_t>());
      }
      if (alone.answer.defined()) {
        alone.answer = alone.answer.narrow(1, 0, alone.answer_lengths.item<int64_t>());
      }
      const at::Tensor by_itself = architecture->features(weights, alone, pooling);
      EXPECT_LE(max_error(by_itself[0], counting_features(together, inputs, i)), 1e-6) << i;
    }
  }
}

TEST_P(EveryFamily, WhichIdsFillRowsUpDoesNotMatter) {
  if (!inputs.tokens.defined()) {
    GTEST_SKIP() << "reads no tokens";
  }
  Inputs other = inputs;
  other.tokens = at::where(counting_positions(inputs.lengths, inputs.tokens.size(1)), inputs.tokens,
                           architecture->input().vocabulary - 1);
  ASSERT_FALSE(other.tokens.equal(inputs.tokens));
  if (inputs.answer.defined()) {
    const at::Tensor counting = inputs.counting(Rows::kAnswer).narrow(1, 1, inputs.answer.size(1));
    other.answer = at::where(counting, inputs.answer, architecture->input().vocabulary - 1);
    ASSERT_FALSE(other.answer.equal(inputs.answer));
  }
  for (const Pooling pooling : poolings_of(*architecture)) {
    const at::Tensor plain = features(weights, pooling);
    const at::Tensor changed = architecture->features(weights, other, pooling);
    for (int64_t i = 0; i < inputs.size(); ++i) {
      EXPECT_TRUE(counting_features(changed, inputs, i).equal(counting_features(plain, inputs, i))) << i;
    }
  }
}

// Entries of `axis` in another order, `unit` of them at a time.
at::Tensor permuted(const at::Tensor& tensor, int64_t axis, const std::vector<int64_t>& order, int64_t unit) {
  const at::Tensor units = tensor.unflatten(axis, {static_cast<int64_t>(order.size()), unit});
  return units.index_select(axis, at::tensor(order, at::kLong)).flatten(axis, axis + 1);
}

// Not the one that changes nothing.
std::vector<int64_t> order_of(const AxisGroup& group) {
  std::vector<int64_t> order = permutation(derive_key(4, group.name), 0, group.size);
  if (std::is_sorted(order.begin(), order.end())) {
    std::swap(order.front(), order.back());
  }
  return order;
}

Weights with_permuted(Weights weights, const AxisGroup& group, const std::vector<int64_t>& order) {
  for (const AxisGroup::Axis& axis : group.axes) {
    at::Tensor& tensor = weights.at(axis.tensor);
    tensor = permuted(tensor, axis.axis, order, group.unit);
  }
  return weights;
}

TEST_P(EveryFamily, PermutingAnAxisGroupPermutesAtMostTheFeatures) {
  if (architecture->axis_groups().empty()) {
    GTEST_SKIP() << "names no groups";
  }
  for (const AxisGroup& group : architecture->axis_groups()) {
    const std::vector<int64_t> order = order_of(group);
    const Weights changed = with_permuted(weights, group, order);
    int makers = 0;
    for (const AxisGroup::Axis& axis : group.axes) {
      ASSERT_TRUE(weights.contains(axis.tensor)) << axis.tensor;
      ASSERT_EQ(weights.at(axis.tensor).size(axis.axis), group.size * group.unit) << axis.tensor;
      EXPECT_FALSE(changed.at(axis.tensor).equal(weights.at(axis.tensor))) << axis.tensor;
      makers += axis.makes ? 1 : 0;
    }
    EXPECT_GT(makers, 0) << group.name;
    const at::Tensor expected =
        group.features ? permuted(features(weights), 1, order, group.unit) : features(weights);
    EXPECT_LE(max_error(features(changed), expected), 1e-12) << group.name;
  }
}

TEST_P(EveryFamily, ActivationsOfEachAxisGroupAreShown) {
  std::map<std::string, int64_t> sizes;
  for (const AxisGroup& group : architecture->axis_groups()) {
    sizes[group.name] = group.size * group.unit;
  }
  std::map<std::string, at::Tensor> shown;  // by group and how often it was seen
  const auto watch = [&](const Weights& from) {
    std::map<std::string, at::Tensor> all;
    const Pass watching{.seen = [&](const std::string& group, const at::Tensor& x) {
      ASSERT_TRUE(sizes.contains(group)) << group;
      EXPECT_EQ(x.size(0), inputs.size()) << group;
      EXPECT_EQ(x.size(-1), sizes.at(group)) << group;
      all[group] = all.contains(group) ? concatenate({all.at(group), x}, 0) : x;
    }};
    EXPECT_TRUE(features(from, watching).equal(features(from)));
    return all;
  };
  const auto plain = watch(weights);
  EXPECT_EQ(plain.size(), sizes.size()) << "each group is seen";
  for (const AxisGroup& group : architecture->axis_groups()) {
    const std::vector<int64_t> order = order_of(group);
    const auto permuted_of = watch(with_permuted(weights, group, order));
    for (const auto& [name, x] : plain) {
      const at::Tensor expected = name == group.name ? permuted(x, x.dim() - 1, order, group.unit) : x;
      EXPECT_LE(max_error(permuted_of.at(name), expected), 1e-12) << group.name << " seen in " << name;
    }
  }
}

// A key's bias adds the same number to all scores of a query, which the softmax takes out again; but not where keys are
// turned by their positions, as Llama's are.
bool changes_nothing(const std::string& parameter) {
  const bool is_of_key =
      parameter.find("self_attn.k_proj.") != std::string::npos && parameter.ends_with("bias");
  return (is_of_key && !parameter.starts_with("model.")) || parameter.ends_with("attention.self.key.bias") ||
         parameter.ends_with("attn1.to_k.bias") || parameter.ends_with("attention.attention.key.bias");
}

// What readouts read, of models that have heads for several kinds of task.
bool is_of_readouts(const std::string& name) {
  return name == "logit_scale" || name.starts_with("mlm_head.");
}

bool is_trained(const std::string& name, const at::Tensor& tensor) {
  return !is_running_statistic(name, tensor) && !is_of_readouts(name);
}

TEST_P(EveryFamily, GradientsReachEveryParameterAndAgreeWithFiniteDifferences) {
  use_all_layers();
  const auto noise = [](const std::string& purpose, at::IntArrayRef shape) {
    return normal(derive_key(5, purpose), 0, 0, c10::multiply_integers(shape)).view(shape).to(at::kDouble);
  };
  const at::Tensor probe = noise("probe", features(weights).sizes());
  const auto loss = [&] { return (features(weights) * probe).sum(); };
  std::vector<at::Tensor> parameters;
  for (auto& [name, tensor] : weights) {
    if (is_trained(name, tensor)) {
      parameters.push_back(tensor.requires_grad_(true));
    }
  }
  const auto gradients = torch::autograd::grad({loss()}, parameters);
  auto gradient = gradients.begin();
  for (auto& [name, tensor] : weights) {
    if (!is_trained(name, tensor)) {
      continue;
    }
    EXPECT_EQ(gradient->abs().max().item<double>() < 1e-9, changes_nothing(name)) << name;
    constexpr double kStep = 1e-5;
    const at::Tensor direction = noise(name, tensor.sizes());
    const at::Tensor value = tensor.detach();
    tensor = value + kStep * direction;
    const double above = loss().item<double>();
    tensor = value - kStep * direction;
    const double below = loss().item<double>();
    tensor = value;
    const double slope = (above - below) / (2 * kStep);
    EXPECT_NEAR((*gradient++ * direction).sum().item<double>(), slope, 1e-6 * (1 + std::abs(slope))) << name;
  }
}

TEST_P(EveryFamily, TheMlpOfABlockReadsItsLayersAlone) {
  const Blocks* blocks = architecture->blocks();
  if (blocks == nullptr) {
    GTEST_SKIP() << "no stack of blocks";
  }
  const at::Tensor x = blocks->embed(weights, inputs);
  EXPECT_EQ(x.size(2), blocks->width());
  for (int64_t block = 0; block < blocks->size(); ++block) {
    Weights only;
    for (const Layer& layer : blocks->mlp_layers(block)) {
      only.emplace(layer.weight, weights.at(layer.weight));
      if (weights.contains(layer.bias)) {
        only.emplace(layer.bias, weights.at(layer.bias));
      }
    }
    const at::Tensor input = blocks->mlp_input(weights, block, x);
    EXPECT_TRUE(blocks->mlp(only, block, input, {}).equal(blocks->mlp(weights, block, input, {})));
  }
}

json with_field(json config, const std::string& field, const json& value) {
  (config.contains("vision_config") ? config["vision_config"] : config)[field] = value;
  return config;
}

json another(const json& value) {
  if (value.is_null()) {  // of rope_scaling
    return {{"rope_type", "llama3"},
            {"factor", 8},
            {"low_freq_factor", 1},
            {"high_freq_factor", 4},
            {"original_max_position_embeddings", 8192}};
  }
  if (value.is_boolean()) {
    return !value.get<bool>();
  }
  if (value.is_string()) {
    const std::map<json, json> others{{"gelu", "relu"},
                                      {"basic", "bottleneck"},
                                      {"bottleneck", "basic"},
                                      {"none", "batch"},
                                      {"batch", "layer"}};
    return others.contains(value) ? others.at(value) : json("gelu");
  }
  if (value.is_array()) {
    json changed = value;
    changed[0] = another(value[0]);
    return changed;
  }
  return value.is_number_integer() ? json(2 * value.get<int64_t>()) : json(2 * value.get<double>());
}

TEST_P(EveryFamily, SettingsHaveTheDefaultsAndFollowTheirFields) {
  const json shortest = shortest_config(GetParam());
  const json settings = architecture_settings(shortest);
  EXPECT_GT(settings.size(), 1U);
  for (const auto& [field, value] : settings.items()) {
    if (field == "model_type") {
      continue;
    }
    EXPECT_EQ(architecture_settings(with_field(shortest, field, value)), settings) << field;
    const json other = field == "num_channels" ? json(1) : another(value);
    json expected = settings;
    expected[field] = other;
    EXPECT_EQ(architecture_settings(with_field(shortest, field, other)), expected) << field;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryFamily, testing::ValuesIn(architecture_registry().names()),
                         [](const auto& type) {
                           std::string name = type.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Families, FilesRegisterTheirTypesAndNothingElse) {
  std::set<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/models/families")) {
    stems.insert(entry.path().stem().string());
  }
  std::set<std::string> files;
  std::set<std::string> types;
  for (const auto& [file, registered] : kTypesOfFiles) {
    files.insert(file);
    types.insert(registered.begin(), registered.end());
  }
  const auto names = architecture_registry().names();
  EXPECT_EQ(files, stems);
  EXPECT_EQ(types, std::set<std::string>(names.begin(), names.end()));
}

}  // namespace
}  // namespace fusegrid::families_test
