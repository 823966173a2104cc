#include "checkpoint/lora_expert.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/max.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/model_spec.h"
#include "checkpoint/random_weights.h"
#include "checkpoint/read_all.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::filesystem::path kGolden = source_folder() / "tests/golden/lora";

// Numbers around 0 that bfloat16 holds, so that casting a model loses nothing.
at::Tensor numbers(const std::vector<int64_t>& shape, int64_t seed) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    count *= size;
  }
  return ((at::arange(count, at::kFloat) * 7 + seed).remainder(13) / 8 - 0.75).reshape(shape);
}

// A base of an embedding, a square and a wide matrix, a bias and an integer buffer, and adapters on it.
class LoraFolder : public testing::Test {
 protected:
  static Weights base_weights() {
    return {{"m.embed.weight", numbers({7, 4}, 1)},
            {"m.q.weight", numbers({4, 4}, 2)},
            {"m.up.weight", numbers({6, 4}, 3)},
            {"m.up.bias", numbers({6}, 4)},
            {"m.steps", at::arange(3)}};
  }
  static nlohmann::json plain_config() { return {{"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 6}}; }
  static Weights plain_adapter() {
    return {{"base_model.model.m.up.lora_A.weight", numbers({2, 4}, 5)},
            {"base_model.model.m.up.lora_B.weight", numbers({6, 2}, 6)}};
  }
  std::filesystem::path write(const Weights& adapter, const nlohmann::json& config) {
    const auto path = folder_ / ("adapter-" + std::to_string(count_++));
    std::filesystem::create_directories(path);
    write_safetensors(path / "adapter_model.safetensors", adapter, {{"format", "pt"}});
    write_text(path / "adapter_config.json", config.dump());
    return path;
  }
  template <typename Expected>
  std::string refusal(const Weights& adapter, const nlohmann::json& config) {
    const auto path = write(adapter, config);
    return message_of<Expected>([&] { LoraExpert(path, base_); });
  }
  std::string refusal_of_key(const std::string& key, const nlohmann::json& value) {
    auto config = plain_config();
    config[key] = value;
    return refusal<ConfigError>(plain_adapter(), config);
  }
  // What the plain adapter is with its keys replaced.
  static Weights renamed(const std::string& a, const std::string& b) {
    return {{a, numbers({2, 4}, 5)}, {b, numbers({6, 2}, 6)}};
  }

  TemporaryFolder folder_;
  HfFolder base_ = [this] {
    save_hf_folder(folder_ / "base", base_weights(), {{"model_type", "test"}});
    return HfFolder(folder_ / "base");
  }();
  int count_ = 0;
};

class GoldenLora : public testing::TestWithParam<const char*> {};

TEST_P(GoldenLora, equals_what_peft_merges) {
  const HfFolder base(kGolden / "base");
  const LoraExpert expert(kGolden / GetParam(), base);
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  ASSERT_EQ(expert.tensors().size(), expected.tensors().size());
  int changed = 0;
  for (const auto& tensor : expert.tensors()) {
    const at::Tensor want = expected.read(tensor.name);
    EXPECT_EQ(tensor.shape, want.sizes().vec());
    EXPECT_LE((read(expert, tensor) - want).abs().max().item<float>(), 1e-6) << tensor.name;
    changed += (want - base.read(tensor.name)).abs().max().item<float>() > 1e-3F ? 1 : 0;
  }
  EXPECT_GE(changed, 2);
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenLora,
                         testing::Values("linear", "patterns", "bias_lora_only", "embedding",
                                         "fan_in_fan_out", "bfloat16", "tower"),
                         [](const auto& test) { return std::string(test.param); });

// What PEFT merges is the base plus the product of the factors, wherever there are any.
TEST_P(GoldenLora, has_the_factors_of_what_changes) {
  const HfFolder base(kGolden / "base");
  const LoraExpert expert(kGolden / GetParam(), base);
  const SafetensorsFile expected(kGolden / GetParam() / "expected.safetensors");
  const SafetensorsFile adapter(kGolden / GetParam() / "adapter_model.safetensors");
  int with_factors = 0;
  for (const auto& tensor : expert.tensors()) {
    const at::Tensor change =
        expected.read(tensor.name).to(at::kFloat) - base.read(tensor.name).to(at::kFloat);
    const auto factors = expert.factors(tensor.name);
    if (!factors) {
      const std::string module = "base_model.model." + tensor.name.substr(0, tensor.name.rfind('.'));
      const bool adapted =
          adapter.contains(module + ".lora_A.weight") || adapter.contains(module + ".lora_embedding_A");
      EXPECT_FALSE(adapted && tensor.name.ends_with(".weight")) << tensor.name;
      continue;
    }
    ++with_factors;
    EXPECT_EQ(factors->b.size(1), factors->a.size(0));
    EXPECT_LT(factors->b.size(1), std::min(tensor.shape[0], tensor.shape[1]));
    EXPECT_LE((factors->scale * factors->b.matmul(factors->a) - change).abs().max().item<float>(), 2e-6)
        << tensor.name;
  }
  EXPECT_GE(with_factors, 1);
}

TEST_F(LoraFolder, has_no_factors_of_what_is_not_the_base_plus_a_product) {
  const auto factors_of_up = [&](const Weights& adapter) {
    return LoraExpert(write(adapter, plain_config()), base_).factors("m.up.weight");
  };
  const auto plain = factors_of_up(plain_adapter());
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->b.equal(numbers({6, 2}, 6)));
  EXPECT_TRUE(plain->a.equal(numbers({2, 4}, 5)));
  EXPECT_EQ(plain->scale, 3);

  Weights own_copy = plain_adapter();
  own_copy.emplace("base_model.model.m.up.base_layer.weight", at::zeros({6, 4}));
  own_copy.emplace("base_model.model.m.q.modules_to_save.default.weight", at::ones({4, 4}));
  EXPECT_FALSE(factors_of_up(own_copy));
  own_copy.erase("base_model.model.m.up.base_layer.weight");
  EXPECT_TRUE(factors_of_up(own_copy)) << "copies are no matter of other tensors";
  const LoraExpert saved(write(own_copy, plain_config()), base_);
  for (const std::string name : {"m.q.weight", "m.up.bias", "m.embed.weight", "m.steps"}) {
    EXPECT_FALSE(saved.factors(name)) << name;
  }
  EXPECT_FALSE(base_.factors("m.up.weight"));

  const Weights more_tokens{{"base_model.model.m.embed.lora_embedding_A", numbers({2, 9}, 3)},
                            {"base_model.model.m.embed.lora_embedding_B", numbers({4, 2}, 4)}};
  EXPECT_FALSE(LoraExpert(write(more_tokens, plain_config()), base_).factors("m.embed.weight"));
}

TEST_F(LoraFolder, adds_the_scaled_product_and_keeps_all_else) {
  const LoraExpert expert(write(plain_adapter(), plain_config()), base_);
  const Weights adapter = plain_adapter();
  const at::Tensor update = adapter.at("base_model.model.m.up.lora_B.weight")
                                .matmul(adapter.at("base_model.model.m.up.lora_A.weight"));
  Weights expected = base_weights();
  expected["m.up.weight"] = expected.at("m.up.weight") + 3 * update;
  EXPECT_TRUE(same_bits(read_all(expert), expected));  // small multiples of 1/8: every sum is exact
}

TEST_F(LoraFolder, changed_tensors_are_float32_whatever_the_base_is) {
  for (const auto dtype : {at::kBFloat16, at::kHalf, at::kDouble}) {
    Weights weights = base_weights();
    for (auto& [name, tensor] : weights) {
      tensor = tensor.is_floating_point() ? tensor.to(dtype) : tensor;
    }
    const auto path = folder_ / ("base-" + std::string(at::toString(dtype)));
    save_hf_folder(path, weights, {{"model_type", "test"}});
    const HfFolder base(path);
    const auto adapter = write(plain_adapter(), plain_config());
    const LoraExpert expert(adapter, base);
    for (const auto& tensor : expert.tensors()) {
      const bool changed = tensor.name == "m.up.weight";
      EXPECT_EQ(tensor.dtype, changed ? at::kFloat : base.info(tensor.name).dtype) << tensor.name;
    }
    const LoraExpert of_float32(adapter, base_);
    const auto& infos = expert.tensors();
    const auto up =
        std::find_if(infos.begin(), infos.end(), [](const auto& t) { return t.name == "m.up.weight"; });
    ASSERT_NE(up, infos.end());
    EXPECT_TRUE(same_bits(read(expert, *up), read(of_float32, *up)));
  }
}

TEST_F(LoraFolder, any_split_into_ranges_gives_the_bits_of_the_whole) {
  std::mt19937_64 random(7);
  const std::vector<int64_t> wide{37, 530};  // more columns than a tile of the product
  save_hf_folder(folder_ / "wide",
                 {{"a.weight", at::zeros(wide) + numbers(wide, 1) / 3},
                  {"b.weight", numbers({530, 37}, 2) / 3},
                  {"e.weight", numbers({41, 300}, 3) / 3}},
                 {{"model_type", "test"}});
  const HfFolder base(folder_ / "wide");
  auto config = plain_config();
  config["r"] = 5;
  for (const bool turned : {false, true}) {
    config["fan_in_fan_out"] = turned;
    const auto pair = [&](const std::string& name, int64_t rows, int64_t cols) {
      const std::string key = "base_model.model." + name + ".";
      return Weights{{key + "lora_A.weight", numbers({5, turned ? rows : cols}, 9) / 7},
                     {key + "lora_B.weight", numbers({turned ? cols : rows, 5}, 8) / 7}};
    };
    Weights adapter = pair("a", 37, 530);
    adapter.merge(pair("b", 530, 37));
    adapter.emplace("base_model.model.e.lora_embedding_A", numbers({5, 41}, 4) / 7);
    adapter.emplace("base_model.model.e.lora_embedding_B", numbers({300, 5}, 5) / 7);
    const LoraExpert expert(write(adapter, config), base);
    for (const auto& tensor : expert.tensors()) {
      const at::Tensor whole = read(expert, tensor);
      EXPECT_FALSE(same_bits(whole, base.read(tensor.name)));
      for (int split = 0; split < 8; ++split) {
        at::Tensor parts = at::full(tensor.shape, std::nanf(""), at::kFloat);
        for (int64_t begin = 0; begin < tensor.numel();) {
          const auto most = static_cast<uint64_t>(split < 4 ? 900 : 9000);
          const int64_t count = std::min(static_cast<int64_t>(random() % most), tensor.numel() - begin);
          expert.read_range(tensor.name, begin, count, parts.mutable_data_ptr<float>() + begin);
          begin += count;
        }
        EXPECT_TRUE(same_bits(parts, whole)) << tensor.name << " split " << split;
      }
    }
  }
}

TEST_F(LoraFolder, reads_keys_with_the_adapter_name_default) {
  const LoraExpert plain(write(plain_adapter(), plain_config()), base_);
  const LoraExpert named(write(renamed("base_model.model.m.up.lora_A.default.weight",
                                       "base_model.model.m.up.lora_B.default.weight"),
                               plain_config()),
                         base_);
  EXPECT_TRUE(same_bits(read_all(named), read_all(plain)));
}

TEST_F(LoraFolder, an_own_copy_replaces_the_tensor_and_takes_the_update) {
  Weights adapter = plain_adapter();
  adapter.emplace("base_model.model.m.up.base_layer.weight", at::zeros({6, 4}));
  adapter.emplace("base_model.model.m.up.bias", at::full({6}, 2.5F).to(at::kHalf));
  adapter.emplace("base_model.model.m.q.modules_to_save.default.weight", at::ones({4, 4}));
  const Weights effective = read_all(LoraExpert(write(adapter, plain_config()), base_));
  const at::Tensor update = adapter.at("base_model.model.m.up.lora_B.weight")
                                .matmul(adapter.at("base_model.model.m.up.lora_A.weight"));
  EXPECT_TRUE(same_bits(effective.at("m.up.weight"), 3 * update + at::zeros({6, 4})));
  EXPECT_TRUE(same_bits(effective.at("m.up.bias"), at::full({6}, 2.5F)));
  EXPECT_TRUE(same_bits(effective.at("m.q.weight"), at::ones({4, 4})));
  EXPECT_TRUE(same_bits(effective.at("m.embed.weight"), base_weights().at("m.embed.weight")));
}

TEST_F(LoraFolder, a_copy_under_two_names_must_be_the_same) {
  Weights adapter = plain_adapter();
  adapter.emplace("base_model.model.m.q.weight", at::ones({4, 4}));
  adapter.emplace("base_model.model.m.q.modules_to_save.weight", at::ones({4, 4}));
  adapter.emplace("base_model.model.m.q.original_module.weight", at::zeros({4, 4}));
  EXPECT_TRUE(same_bits(read_all(LoraExpert(write(adapter, plain_config()), base_)).at("m.q.weight"),
                        at::ones({4, 4})));
  adapter["base_model.model.m.q.weight"] = at::zeros({4, 4});
  EXPECT_THAT(refusal<DataError>(adapter, plain_config()),
              AllOf(HasSubstr("m.q.modules_to_save.weight"), HasSubstr("each tensor once")));
}

TEST_F(LoraFolder, scale_and_rank_follow_the_patterns) {
  auto config = plain_config();
  config["r"] = 9;
  config["rank_pattern"] = {{"m.up", 2}, {"no.such", 3}};
  config["alpha_pattern"] = {{R"(.*\.(up|down))", 1}};
  config["use_rslora"] = true;
  Weights adapter = plain_adapter();
  const at::Tensor update = adapter.at("base_model.model.m.up.lora_B.weight")
                                .matmul(adapter.at("base_model.model.m.up.lora_A.weight"));
  const at::Tensor got = read_all(LoraExpert(write(adapter, config), base_)).at("m.up.weight");
  const at::Tensor want = base_weights().at("m.up.weight") + update * (1 / std::sqrt(2.0));
  EXPECT_LE((got - want).abs().max().item<float>(), 1e-6);
  config["rank_pattern"] = {{"up", 2}, {"m.up", 3}};
  EXPECT_THAT(refusal<ConfigError>(adapter, config), HasSubstr("'m.up' and 'up' both match 'm.up'"));
  config["rank_pattern"] = {{"m.(up", 2}};
  EXPECT_THAT(refusal<ConfigError>(adapter, config), HasSubstr("'m.(up' cannot be read as one"));
}

TEST_F(LoraFolder, other_adapters_are_refused) {
  EXPECT_THAT(refusal_of_key("peft_type", "IA3"), AllOf(HasSubstr("'IA3'"), HasSubstr("merge_and_unload")));
  EXPECT_THAT(refusal_of_key("use_dora", true), HasSubstr("'use_dora' is 'true'"));
  EXPECT_THAT(refusal_of_key("lora_bias", true), HasSubstr("'lora_bias'"));
  EXPECT_THAT(refusal_of_key("target_parameters", {"experts.up"}), HasSubstr("'target_parameters'"));
  EXPECT_THAT(refusal_of_key("trainable_token_indices", {1, 2}), HasSubstr("'trainable_token_indices'"));
  for (const std::string key : {"use_invented_next_year", "lora_twist", "alpha_schedule", "output_scale"}) {
    EXPECT_THAT(refusal_of_key(key, 3), HasSubstr("'" + key + "' is '3'"));
  }
  EXPECT_THAT(refusal_of_key("init_lora_weights", "pissa"),
              HasSubstr("path_initial_model_for_weight_conversion"));
  EXPECT_THAT(refusal_of_key("r", 0), HasSubstr("r must be a whole number of at least 1, but it is '0'"));
  EXPECT_THAT(refusal_of_key("lora_alpha", "six"), HasSubstr("lora_alpha must be a number"));
  EXPECT_THAT(refusal_of_key("use_rslora", 1), HasSubstr("use_rslora must be true or false"));
  EXPECT_THAT(refusal<ConfigError>(plain_adapter(), nlohmann::json::array()),
              HasSubstr("peft_type must be LORA"));
  EXPECT_THAT(refusal<ConfigError>(plain_adapter(), {{"peft_type", "LORA"}, {"r", 2}}),
              HasSubstr("must state lora_alpha"));
  auto off = plain_config();
  off["invented_next_year"] = nullptr;
  off["use_dora"] = false;
  EXPECT_EQ(LoraExpert(write(plain_adapter(), off), base_).tensors().size(), base_.tensors().size());
}

TEST_F(LoraFolder, keys_that_say_nothing_of_the_arithmetic_are_passed_over) {
  const Weights plain = read_all(LoraExpert(write(plain_adapter(), plain_config()), base_));
  const std::vector<nlohmann::json> others{
      {{"lora_dtype", "AUTO"}, {"lorap_lr_ratio", 4}, {"learning_rate", 1e-4}, {"optim", "adamw"}},
      {{"hidden_size", 8},
       {"use_cache", true},
       {"rope_scaling", {{"factor", 2}}},
       {"bos_token_id", 1},
       {"mlp_bias", true}},
      {{"somebodys_mark", true}, {"dataset", {"a", "b"}}}};
  for (const nlohmann::json& keys : others) {
    auto config = plain_config();
    config.update(keys);
    EXPECT_TRUE(same_bits(read_all(LoraExpert(write(plain_adapter(), config), base_)), plain)) << keys;
  }
}

TEST_F(LoraFolder, adapters_of_another_base_are_refused) {
  Weights elsewhere = renamed("base_model.model.n.up.lora_A.weight", "base_model.model.n.up.lora_B.weight");
  EXPECT_THAT(refusal<ConfigError>(elsewhere, plain_config()),
              AllOf(HasSubstr("1 tensor(s)"), HasSubstr("'n.up.weight'"), testing::Not(HasSubstr("tied"))));
  Weights smaller = plain_adapter();
  smaller["base_model.model.m.up.lora_B.weight"] = numbers({5, 2}, 1);
  EXPECT_THAT(refusal<ConfigError>(smaller, plain_config()),
              AllOf(HasSubstr("[5, 4] (out, in)"), HasSubstr("needs [6, 4]")));
  auto turned = plain_config();
  turned["fan_in_fan_out"] = true;
  EXPECT_THAT(refusal<ConfigError>(plain_adapter(), turned), HasSubstr("is fan_in_fan_out wrong?"));
  Weights wide = plain_adapter();
  wide.emplace("base_model.model.m.embed.weight", numbers({7, 5}, 1));
  EXPECT_THAT(refusal<ConfigError>(wide, plain_config()), AllOf(HasSubstr("[7, 4]"), HasSubstr("[7, 5]")));
  const Weights head =
      renamed("base_model.model.lm_head.lora_A.weight", "base_model.model.lm_head.lora_B.weight");
  EXPECT_THAT(refusal<ConfigError>(head, plain_config()), HasSubstr("tied weights"));
}

TEST_F(LoraFolder, has_as_many_rows_as_the_vocabulary_that_it_was_trained_with) {
  Weights copy = plain_adapter();
  copy.emplace("base_model.model.m.embed.weight", numbers({9, 4}, 1));
  const LoraExpert more(write(copy, plain_config()), base_);
  EXPECT_TRUE(same_bits(read_all(more).at("m.embed.weight"), numbers({9, 4}, 1)));

  const Weights factors{{"base_model.model.m.embed.lora_embedding_A", numbers({2, 9}, 3)},
                        {"base_model.model.m.embed.lora_embedding_B", numbers({4, 2}, 4)}};
  const LoraExpert low_rank(write(factors, plain_config()), base_);
  EXPECT_EQ(low_rank.tensors().front().shape, (std::vector<int64_t>{9, 4}));
  at::Tensor rows = at::zeros({7, 4});
  low_rank.read_range("m.embed.weight", 0, 28, rows.mutable_data_ptr());
  const at::Tensor update = numbers({4, 2}, 4).matmul(numbers({2, 9}, 3)).t().narrow(0, 0, 7);
  EXPECT_TRUE(at::allclose(rows, base_weights().at("m.embed.weight") + 3 * update));
}

TEST_F(LoraFolder, trained_tensors_that_the_base_lacks_are_the_experts) {
  Weights adapter = plain_adapter();
  adapter.emplace("base_model.model.classifier.modules_to_save.default.weight", numbers({3, 4}, 1));
  const Weights effective = read_all(LoraExpert(write(adapter, plain_config()), base_));
  EXPECT_TRUE(same_bits(effective.at("classifier.weight"), numbers({3, 4}, 1)));
  EXPECT_EQ(effective.size(), base_.tensors().size() + 1);
}

TEST_F(LoraFolder, names_may_have_a_prefix_more_than_those_of_the_base) {
  Weights adapter =
      renamed("base_model.model.outer.m.up.lora_A.weight", "base_model.model.outer.m.up.lora_B.weight");
  adapter.emplace("base_model.model.score.weight", numbers({3, 4}, 1));
  const Weights effective = read_all(LoraExpert(write(adapter, plain_config()), base_));
  const Weights plain = read_all(LoraExpert(write(plain_adapter(), plain_config()), base_));
  EXPECT_TRUE(same_bits(effective.at("m.up.weight"), plain.at("m.up.weight")));
  EXPECT_TRUE(effective.contains("score.weight"));
  adapter.emplace("base_model.model.outer.n.up.lora_A.weight", numbers({2, 4}, 5));
  adapter.emplace("base_model.model.outer.n.up.lora_B.weight", numbers({6, 2}, 6));
  EXPECT_THAT(refusal<ConfigError>(adapter, plain_config()),
              AllOf(HasSubstr("outer.n.up.weight"), HasSubstr("prefix 'outer.'")));
}

// As CLIP's are: an adapter of one tower says not which.
TEST_F(LoraFolder, shapes_tell_towers_of_the_same_names_apart) {
  const Weights towers{{"text.m.up.weight", numbers({4, 4}, 1)}, {"vision.m.up.weight", numbers({6, 4}, 3)}};
  save_hf_folder(folder_ / "towers", towers, {{"model_type", "test"}});
  const HfFolder base(folder_ / "towers");
  const auto adapter = write(plain_adapter(), plain_config());
  const Weights effective = read_all(LoraExpert(adapter, base));
  EXPECT_TRUE(same_bits(effective.at("text.m.up.weight"), towers.at("text.m.up.weight")));
  EXPECT_FALSE(same_bits(effective.at("vision.m.up.weight"), towers.at("vision.m.up.weight")));
  save_hf_folder(folder_ / "twins",
                 {{"text.m.up.weight", numbers({6, 4}, 1)}, {"vision.m.up.weight", numbers({6, 4}, 3)}},
                 {{"model_type", "test"}});
  const HfFolder twins(folder_ / "twins");
  EXPECT_THAT(message_of<ConfigError>([&] { LoraExpert(adapter, twins); }),
              AllOf(HasSubstr("under 'text.'"), HasSubstr("under 'vision.'")));
}

// On a base whose head is its embedding.
class TiedLora : public LoraFolder {
 protected:
  static Weights copies(const at::Tensor& embedding, const std::optional<at::Tensor>& head) {
    Weights all{{"base_model.model.model.embed_tokens.weight", embedding}};
    if (head) {
      all.emplace("base_model.model.lm_head.weight", *head);
    }
    return all;
  }
  static nlohmann::json tying() {
    auto config = plain_config();
    config["ensure_weight_tying"] = true;
    return config;
  }
  const at::Tensor embedding_ = numbers({7, 4}, 1);
  HfFolder tied_ = [this] {
    save_hf_folder(folder_ / "tied", {{"model.embed_tokens.weight", embedding_}},
                   {{"tie_word_embeddings", true}});
    return HfFolder(folder_ / "tied");
  }();
};

TEST_F(TiedLora, what_training_changed_alone_is_untied) {
  const at::Tensor trained = numbers({7, 4}, 9);
  const LoraExpert embedding(write(copies(trained, {}), plain_config()), tied_);
  EXPECT_TRUE(same_bits(read_all(embedding),
                        {{"lm_head.weight", embedding_}, {"model.embed_tokens.weight", trained}}));
  EXPECT_EQ(embedding.config().at("tie_word_embeddings"), false);

  const Weights factors =
      renamed("base_model.model.lm_head.lora_A.weight", "base_model.model.lm_head.lora_B.weight");
  Weights rows = factors;
  rows["base_model.model.lm_head.lora_B.weight"] = numbers({7, 2}, 6);
  const LoraExpert head(write(rows, plain_config()), tied_);
  const at::Tensor update = numbers({7, 2}, 6).matmul(numbers({2, 4}, 5));
  EXPECT_TRUE(at::allclose(read_all(head).at("lm_head.weight"), embedding_ + 3 * update));
  EXPECT_TRUE(same_bits(read_all(head).at("model.embed_tokens.weight"), embedding_));
  EXPECT_FALSE(head.factors("lm_head.weight"))
      << "the base has no tensor of that name to which they could be added";
}

TEST_F(TiedLora, what_training_kept_tied_is_one_tensor) {
  const at::Tensor trained = numbers({7, 4}, 9);
  for (const auto& [adapter, config] :
       {std::pair(copies(trained, trained), plain_config()), std::pair(copies(trained, {}), tying())}) {
    const LoraExpert expert(write(adapter, config), tied_);
    EXPECT_TRUE(same_bits(read_all(expert), {{"model.embed_tokens.weight", trained}}));
    EXPECT_EQ(expert.config().at("tie_word_embeddings"), true);
  }
  const auto apart = write(copies(trained, embedding_), tying());
  EXPECT_THAT(message_of<ConfigError>([&] { LoraExpert(apart, tied_); }), HasSubstr("ensure_weight_tying"));

  const at::Tensor a = numbers({2, 7}, 3);
  const at::Tensor b = numbers({4, 2}, 4);
  const Weights factors{{"base_model.model.model.embed_tokens.lora_embedding_A", a},
                        {"base_model.model.model.embed_tokens.lora_embedding_B", b},
                        {"base_model.model.lm_head.lora_A.weight", b.t().contiguous()},
                        {"base_model.model.lm_head.lora_B.weight", a.t().contiguous()}};
  EXPECT_EQ(LoraExpert(write(factors, plain_config()), tied_).tensors().size(), 1U);
}

TEST_F(LoraFolder, a_part_of_the_base_must_be_the_only_one_that_fits) {
  const Weights inner = renamed("base_model.model.up.lora_A.weight", "base_model.model.up.lora_B.weight");
  const LoraExpert whole(write(plain_adapter(), plain_config()), base_);
  EXPECT_TRUE(same_bits(read_all(LoraExpert(write(inner, plain_config()), base_)), read_all(whole)));
  Weights twice = base_weights();
  twice.emplace("n.up.weight", numbers({6, 4}, 3));
  save_hf_folder(folder_ / "two-parts", twice, {{"model_type", "test"}});
  const HfFolder base(folder_ / "two-parts");
  const auto path = write(inner, plain_config());
  EXPECT_THAT(message_of<ConfigError>([&] { LoraExpert(path, base); }),
              AllOf(HasSubstr("'m.'"), HasSubstr("'n.'")));
}

TEST_F(LoraFolder, damaged_adapters_are_refused) {
  Weights one = plain_adapter();
  one.erase("base_model.model.m.up.lora_B.weight");
  EXPECT_THAT(refusal<DataError>(one, plain_config()), HasSubstr("'m.up' lacks its B"));
  auto config = plain_config();
  config["r"] = 4;
  EXPECT_THAT(refusal<DataError>(plain_adapter(), config), HasSubstr("4, but its factors have rank 2"));
  Weights uneven = plain_adapter();
  uneven["base_model.model.m.up.lora_B.weight"] = numbers({6, 3}, 1);
  EXPECT_THAT(refusal<DataError>(uneven, plain_config()), HasSubstr("[2, 4] and [6, 3]"));
  Weights cube = plain_adapter();
  cube["base_model.model.m.up.lora_B.weight"] = numbers({6, 2, 1}, 1);
  EXPECT_THAT(refusal<DataError>(cube, plain_config()), HasSubstr("[6, 2, 1]"));
  Weights twice = plain_adapter();
  twice.emplace("base_model.model.m.up.lora_A.default.weight", numbers({2, 4}, 5));
  EXPECT_THAT(refusal<DataError>(twice, plain_config()), HasSubstr("must hold each tensor once"));
  Weights mixed = plain_adapter();
  mixed.emplace("base_model.model.m.up.lora_embedding_B", numbers({6, 2}, 5));
  EXPECT_THAT(refusal<DataError>(mixed, plain_config()), HasSubstr("'m.up'"));
  EXPECT_THAT(refusal<DataError>({}, plain_config()), HasSubstr("it holds none"));
}

TEST_F(LoraFolder, unknown_keys_are_refused) {
  const auto with = [](const std::string& key) {
    Weights adapter = plain_adapter();
    adapter.emplace(key, numbers({6}, 1));
    return adapter;
  };
  EXPECT_THAT(
      refusal<ConfigError>(with("base_model.model.m.up.lora_magnitude_vector.weight"), plain_config()),
      HasSubstr("DoRA"));
  EXPECT_THAT(refusal<ConfigError>(with("base_model.model.m.up.lora_B.bias"), plain_config()),
              HasSubstr("of a kind that is not read"));
  EXPECT_THAT(refusal<ConfigError>(with("base_model.model.m.up.lora_A.other.weight"), plain_config()),
              HasSubstr("of a kind that is not read"));
  EXPECT_THAT(refusal<ConfigError>(with("m.up.bias"), plain_config()),
              HasSubstr("begin with base_model.model."));
  EXPECT_THAT(refusal<ConfigError>(with("base_model.model.m.steps"), plain_config()),
              HasSubstr("only floating tensors"));
}

TEST_F(LoraFolder, a_changed_file_is_noticed) {
  const auto path = write(plain_adapter(), plain_config());
  const LoraExpert expert(path, base_);
  expert.check_unchanged();
  const auto file = path / "adapter_model.safetensors";
  write_text(file, read_text(file) + " ");
  EXPECT_THAT(message_of<DataError>([&] { expert.check_unchanged(); }), HasSubstr("must not change"));
}

TEST_F(LoraFolder, open_model_goes_by_what_a_folder_holds) {
  const auto adapter = write(plain_adapter(), plain_config());
  EXPECT_NE(dynamic_cast<HfFolder*>(open_model(folder_ / "base", nullptr).get()), nullptr);
  EXPECT_NE(dynamic_cast<HfFolder*>(open_model(folder_ / "base", &base_).get()), nullptr);
  const auto expert = open_model(adapter, &base_);
  EXPECT_NE(dynamic_cast<LoraExpert*>(expert.get()), nullptr);
  EXPECT_EQ(expert->name(), adapter.string());
  EXPECT_THAT(message_of<ConfigError>([&] { open_model(adapter, nullptr); }), HasSubstr("is an adapter"));
  std::filesystem::copy_file(folder_ / "base/model.safetensors", adapter / "model.safetensors");
  EXPECT_THAT(message_of<ConfigError>([&] { open_model(adapter, &base_); }), HasSubstr("holds both"));
  const auto pickle = write(plain_adapter(), plain_config());
  std::filesystem::rename(pickle / "adapter_model.safetensors", pickle / "adapter_model.bin");
  EXPECT_THAT(message_of<ConfigError>([&] { open_model(pickle, &base_); }), HasSubstr("never read"));
}

}  // namespace
}  // namespace fusegrid
