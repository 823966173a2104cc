// Golden values: tests/golden/make_clip.py (transformers). What holds for every family: tests/models/families_test.cpp;
// the tower of images alone: clip_vision_test.cpp.
#include <map>
#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "models/tower_readout.h"
#include "support/small_models.h"
#include "support/source_folder.h"

namespace fusegrid::clip_test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// CLIPModel of transformers with the field of ours.
class WholeClip : public testing::Test {
 protected:
  WholeClip() {
    config_ = folder_.config();
    config_["merged_towers"] = "both";
    architecture_ = make_architecture(config_);
    weights_ = read_parameters(*architecture_, folder_);
    pair_.images = expected_.read("pixel_values");
    pair_.tokens = expected_.read("input_ids");
    pair_.lengths = at::tensor({4, 6, 9, 5}, at::kLong);  // the first token that ends a text counts
  }
  // As many texts as images.
  Inputs three() const {
    Inputs some;
    some.images = pair_.images;
    some.tokens = pair_.tokens.narrow(0, 0, 3);
    some.lengths = pair_.lengths.narrow(0, 0, 3);
    some.pairs = true;
    return some;
  }
  Inputs images() const { return {pair_.images, {}, {}}; }
  Inputs tokens() const { return {{}, pair_.tokens, pair_.lengths}; }

  HfFolder folder_{source_folder() / "tests/golden/clip/clip_full"};
  SafetensorsFile expected_{source_folder() / "tests/golden/clip/clip_full/expected.safetensors"};
  json config_;
  std::shared_ptr<const Architecture> architecture_;
  Weights weights_;
  Inputs pair_;
};

TEST_F(WholeClip, features_of_both_towers_and_their_logits_agree) {
  const at::Tensor of_images = architecture_->features(weights_, images(), Pooling::kFirst);
  const at::Tensor of_tokens = architecture_->features(weights_, tokens(), Pooling::kFirst);
  EXPECT_LE(max_error(of_images, expected_.read("projected")), 1e-5);
  EXPECT_LE(max_error(of_tokens, expected_.read("text_features")), 1e-5);

  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {1}, true); };
  const at::Tensor logits =
      weights_.at("logit_scale").exp() * at::matmul(unit(of_images), unit(of_tokens).t());
  EXPECT_LE(max_error(logits, expected_.read("logits_per_image")), 1e-4);
}

TEST_F(WholeClip, pairs_have_a_row_of_each_tower) {
  const at::Tensor both = architecture_->features(weights_, three(), Pooling::kFirst);
  ASSERT_EQ(both.sizes().vec(), (std::vector<int64_t>{3, 2, 10}));
  EXPECT_LE(max_error(both.select(1, 0), expected_.read("projected")), 1e-5);
  EXPECT_LE(max_error(both.select(1, 1), expected_.read("text_features").narrow(0, 0, 3)), 1e-5);
  EXPECT_THROW(architecture_->features(weights_, three(), Pooling::kNone), ConfigError);
  Inputs together = three();
  together.pairs = false;
  EXPECT_THROW(architecture_->features(weights_, together, Pooling::kFirst), ConfigError);
}

TEST_F(WholeClip, all_of_the_file_is_merged) {
  std::set<std::string> names;
  for (const TensorInfo& info : architecture_->parameters()) {
    names.insert(info.name);
  }
  EXPECT_TRUE(names.contains("logit_scale"));
  EXPECT_TRUE(names.contains("visual_projection.weight"));
  EXPECT_TRUE(names.contains("text_projection.weight"));
  EXPECT_TRUE(names.contains("text_model.embeddings.token_embedding.weight"));
  for (const auto& info : folder_.tensors()) {
    EXPECT_EQ(names.contains(info.name), !info.name.ends_with("position_ids")) << info.name;
  }
  EXPECT_FALSE(architecture_->projection().has_value());
}

// A layer sees the rows of its own tower, and of texts those alone that count.
TEST_F(WholeClip, layers_see_the_rows_of_their_tower) {
  const Inputs inputs = three();
  std::map<std::string, int64_t> rows;
  std::vector<std::string> seen, layers;
  const Pass pass{
      [&](const Layer& layer, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
        const at::Tensor counting = inputs.counting(layer.rows);
        rows[layer.name] = x.dim() == 2         ? x.size(0)
                           : counting.defined() ? counting.sum().item<int64_t>()
                                                : x.size(0) * x.size(1);
        if (counting.defined() && x.dim() == 3) {
          EXPECT_EQ(counting.sizes().vec(), x.sizes().slice(0, 2).vec()) << layer.name;
        }
        seen.push_back(layer.name);
        return at::linear(x, weight, bias);
      }};
  architecture_->features(weights_, inputs, Pooling::kFirst, pass);
  for (const Layer& layer : architecture_->layers()) {
    layers.push_back(layer.name);
  }
  EXPECT_EQ(seen, layers);
  EXPECT_EQ(rows.at("vision_model.encoder.layers.0.mlp.fc1"), 3 * 5) << "a class token and four patches";
  EXPECT_EQ(rows.at("text_model.encoder.layers.0.mlp.fc1"), 4 + 6 + 9);
  EXPECT_EQ(rows.at("visual_projection"), 3);
  EXPECT_EQ(rows.at("text_projection"), 3);
}

TEST_F(WholeClip, rows_do_not_depend_on_what_fills_them_up) {
  Inputs other = tokens();
  other.tokens = other.tokens.where(other.counting(), 7);
  EXPECT_TRUE(architecture_->features(weights_, other, Pooling::kFirst)
                  .equal(architecture_->features(weights_, tokens(), Pooling::kFirst)));
}

TEST_F(WholeClip, is_the_tower_of_images_where_it_does_not_say_so) {
  for (const json& towers : {json(nullptr), json("vision")}) {
    json config = config_;
    config.erase("merged_towers");
    if (!towers.is_null()) {
      config["merged_towers"] = towers;
    }
    EXPECT_EQ(make_architecture(config)->name(), "clip_vision_model");
  }
  config_["merged_towers"] = "text";
  EXPECT_THROW(make_architecture(config_), ConfigError);
}

TEST_F(WholeClip, unsupported_configurations_name_the_field) {
  const std::vector<std::pair<std::string, json>> cases{{"hidden_act", "relu"},
                                                        {"num_attention_heads", 5},
                                                        {"vocab_size", 0},
                                                        {"layer_norm_eps", 0},
                                                        {"max_position_embeddings", "9"}};
  for (const auto& [field, value] : cases) {
    json config = config_;
    config["text_config"][field] = value;
    try {
      make_architecture(config);
      FAIL() << "accepted " << field;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("text_config." + field));
    }
  }
  config_.erase("text_config");
  EXPECT_THROW(make_architecture(config_), ConfigError);
}

TEST_F(WholeClip, settings_tell_models_apart_that_compute_otherwise) {
  json other = config_;
  EXPECT_EQ(architecture_settings(other), architecture_settings(config_));
  other["text_config"]["layer_norm_eps"] = 1e-3;
  EXPECT_NE(architecture_settings(other), architecture_settings(config_));
  other = config_;
  other["merged_towers"] = "vision";
  EXPECT_NE(architecture_settings(other), architecture_settings(config_));
}

// The golden model answers three classes of two prompts each.
TEST_F(WholeClip, heads_of_prompts_are_made_by_the_tower_of_texts) {
  const at::Tensor prompts = pair_.tokens.index_select(0, at::tensor({0, 1, 2, 3, 1, 0}, at::kLong));
  const at::Tensor lengths = pair_.lengths.index_select(0, at::tensor({0, 1, 2, 3, 1, 0}, at::kLong));
  const auto readout = prompt_readout(architecture_, {prompts.view({3, 2, 9}), lengths.view({3, 2})});
  const at::Tensor of_images = architecture_->features(weights_, images(), Pooling::kFirst);
  const auto unit = [](const at::Tensor& x) { return x / x.norm(2, {1}, true); };
  const at::Tensor texts = unit(expected_.read("text_features"));
  const auto row = [&](int64_t a, int64_t b) { return (texts[a] + texts[b]) / 2; };
  at::Tensor rows = unit(at::stack({row(0, 1), row(2, 3), row(1, 0)}));

  const at::Tensor logits = (*readout)(weights_, of_images);

  EXPECT_EQ(readout->outputs(), 3);
  EXPECT_LE(max_error(logits, weights_.at("logit_scale").exp() * at::matmul(unit(of_images), rows.t())),
            1e-4);
}

}  // namespace
}  // namespace fusegrid::clip_test
