#include "checkpoint/layer_stack.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A model of `layers` layers; entries of layer i: value + i, before the layers: value + 0.5, behind them: value + 0.75.
void add_model(const std::filesystem::path& folder, int64_t layers, double value,
               nlohmann::json config = nlohmann::json::object(), int64_t width = 3) {
  Weights weights{{"model.embed_tokens.weight", at::full({4, width}, value + 0.5, at::kBFloat16)},
                  {"model.norm.weight", at::full({width}, value + 0.75, at::kBFloat16)},
                  {"lm_head.weight", at::full({4, width}, value + 0.75, at::kBFloat16)}};
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const double own = value + static_cast<double>(i);
    weights[layer + "up.weight"] = at::full({width, 2}, own, at::kBFloat16);
    weights[layer + "norm.weight"] = at::full({width}, own, at::kBFloat16);
  }
  if (!config.contains("num_hidden_layers")) {
    config["num_hidden_layers"] = layers;
  }
  save_hf_folder(folder, weights, config);
}

class LayerStacks : public testing::Test {
 protected:
  LayerStacks() {
    add_model(folder / "a", 3, 10);
    add_model(folder / "b+c", 4, 20);
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::unique_ptr<ModelSource> open(const std::string& text) const { return open_model(text, nullptr); }
  static double value(const ModelSource& model, const std::string& tensor) {
    at::Tensor entry = at::full({1}, 0, at::kBFloat16);
    model.read_range(tensor, 1, 1, entry.mutable_data_ptr());
    return entry.item<double>();
  }

  TemporaryFolder folder;
};

TEST_F(LayerStacks, number_the_layers_anew) {
  const auto stack = open(path("a") + "[0:2]+" + path("b+c") + "[1:4]+" + path("a") + "[1:3]");
  std::vector<double> values;
  for (int layer = 0; layer < 7; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".";
    values.push_back(value(*stack, name + "up.weight"));
    EXPECT_EQ(value(*stack, name + "norm.weight"), values.back());
  }
  EXPECT_EQ(values, (std::vector<double>{10, 11, 21, 22, 23, 11, 12}));
  EXPECT_EQ(stack->tensors().size(), 17U);
  EXPECT_TRUE(std::is_sorted(stack->tensors().begin(), stack->tensors().end(),
                             [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; }));
  stack->check_unchanged();
}

TEST_F(LayerStacks, begin_as_the_first_model_and_end_as_the_last) {
  const auto stack = open(path("a") + "[0:2]+" + path("b+c") + "[1:4]");
  EXPECT_EQ(value(*stack, "model.embed_tokens.weight"), 10.5);
  EXPECT_EQ(value(*stack, "model.norm.weight"), 20.75);
  EXPECT_EQ(value(*stack, "lm_head.weight"), 20.75);
}

TEST_F(LayerStacks, are_written_with_ranges) {
  const auto stack = parse_model("up/a+b[0:24]+c[8:32]");
  EXPECT_FALSE(stack->is_folder());
  EXPECT_EQ(stack->folders(), (std::vector<std::filesystem::path>{"up/a+b", "c"}));
  EXPECT_EQ(stack->default_name(), "a+b-stack");
  const std::string twice = path("b+c") + "[1:2]+" + path("a") + "/../a[0:3]";
  EXPECT_EQ(parse_model(twice)->identity(), path("b+c") + "[1:2]+" + path("a") + "[0:3]");
  EXPECT_TRUE(parse_model("a")->is_folder());
  EXPECT_TRUE(parse_model("a[1]")->is_folder());
  add_model(folder / "odd[0:1]", 1, 0);
  EXPECT_TRUE(parse_model(path("odd[0:1]"))->is_folder());  // a folder that is there goes first
}

TEST_F(LayerStacks, what_is_wrong_is_told) {
  const auto error = [&](const std::string& text) { return message_of<ConfigError>([&] { open(text); }); };
  EXPECT_THAT(error(path("a") + "[2:1]"), HasSubstr("at least one"));
  EXPECT_THAT(error(path("a") + "[0:x]"), HasSubstr("the end of"));
  EXPECT_THAT(error(path("a") + "[0:1:2]"), HasSubstr("FOLDER[BEGIN:END]"));
  EXPECT_THAT(error(path("a") + "[0:4]"),
              AllOf(HasSubstr("[0:4]' must end at layer 3"), HasSubstr("no more")));
  add_model(folder / "wide", 2, 0, {}, 5);
  EXPECT_THAT(error(path("a") + "[0:1]+" + path("wide") + "[0:1]"),
              AllOf(HasSubstr("'lm_head.weight' must be in the first and in the last"), HasSubstr("wide")));
  EXPECT_THAT(error(path("a") + "[0:1]+" + path("wide") + "[0:1]+" + path("a") + "[0:1]"),
              AllOf(HasSubstr("must have one shape"), HasSubstr("[5]"), HasSubstr("[3]")));
  save_hf_folder(folder / "towers",
                 {{"text.layers.0.w", at::full({2}, 1.0)}, {"vision.layers.0.w", at::full({2}, 1.0)}},
                 {{"num_hidden_layers", 1}});
  EXPECT_THAT(error(path("towers") + "[0:1]"), HasSubstr("2 (text.layers., vision.layers.)"));
  save_hf_folder(folder / "flat", {{"weight", at::full({2}, 1.0)}}, {{"num_hidden_layers", 1}});
  EXPECT_THAT(error(path("flat") + "[0:1]"), HasSubstr("has none"));
}

TEST_F(LayerStacks, configuration_counts_the_layers) {
  const auto config = [&](const std::string& text) { return parse_model(text)->config({}); };
  EXPECT_EQ(config(path("a") + "[0:2]+" + path("b+c") + "[0:4]").at("num_hidden_layers"), 6);
  const std::vector<std::string> full{"full", "full", "sliding"};
  add_model(folder / "types", 3, 0, {{"layer_types", full}, {"eos_token_id", {1, 2, 3}}});
  const nlohmann::json stacked =
      config(path("types") + "[0:1]+" + path("types") + "[1:3]+" + path("types") + "[2:3]");
  EXPECT_EQ(stacked.at("layer_types"), (std::vector<std::string>{"full", "full", "sliding", "sliding"}));
  EXPECT_EQ(stacked.at("eos_token_id").size(), 3U);
  EXPECT_THAT(message_of<ConfigError>([&] { config(path("types") + "[0:1]+" + path("a") + "[0:1]"); }),
              HasSubstr("'layer_types' must be a list with an entry for each layer"));
  add_model(folder / "silent", 2, 0, {{"num_hidden_layers", 7}});
  EXPECT_THAT(message_of<ConfigError>([&] { config(path("silent") + "[0:2]"); }),
              AllOf(HasSubstr("its 2 layers"), HasSubstr("num_hidden_layers, n_layer")));
}

TEST_F(LayerStacks, configuration_counts_the_layers_in_the_part_that_is_about_them) {
  using nlohmann::json;
  const auto stacked = [&](const json& config) {
    std::filesystem::remove_all(folder / "nested");
    add_model(folder / "nested", 2, 0, config);
    return parse_model(path("nested") + "[0:2]+" + path("nested") + "[1:2]")->config({});
  };
  const json text{{"num_hidden_layers", 2}, {"layer_types", {"full", "sliding"}}};
  const json vision{{"num_hidden_layers", 2}};
  // the model's own number, 7, is that of something else
  const json part = stacked({{"num_hidden_layers", 7}, {"text_config", text}, {"vision_config", vision}});
  EXPECT_EQ(part.at("num_hidden_layers"), 7);
  EXPECT_EQ(part.at("text_config").at("num_hidden_layers"), 3);
  EXPECT_EQ(part.at("text_config").at("layer_types"),
            (std::vector<std::string>{"full", "sliding", "sliding"}));
  EXPECT_EQ(part.at("vision_config"), vision);
  const json both = stacked({{"num_hidden_layers", 2}, {"text_config", text}});
  EXPECT_EQ(both.at("num_hidden_layers"), 3);
  EXPECT_EQ(both.at("text_config").at("num_hidden_layers"), 3);
  EXPECT_EQ(stacked({{"num_hidden_layers", 0}, {"thinker_config", {{"text_config", text}}}})
                .at("thinker_config")
                .at("text_config")
                .at("num_hidden_layers"),
            3);
  const auto refusal = [&](const json& config) { return message_of<ConfigError>([&] { stacked(config); }); };
  EXPECT_THAT(refusal({{"num_hidden_layers", 7}, {"vision_config", vision}}), HasSubstr("its 2 layers"));
  EXPECT_THAT(refusal({{"num_hidden_layers", 7}, {"llm_config", text}, {"talker_config", text}}),
              HasSubstr("in llm_config, talker_config"));
}

}  // namespace
}  // namespace fusegrid
