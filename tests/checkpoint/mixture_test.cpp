#include "checkpoint/mixture.h"

#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/read_all.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/source_folder.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kHidden = 6;
constexpr int64_t kIntermediate = 10;
constexpr int64_t kLayers = 2;

std::string layer(int64_t number) {
  return "model.layers." + std::to_string(number) + ".";
}

Weights llama(uint64_t key, at::ScalarType dtype = at::kBFloat16, int64_t hidden = kHidden,
              int64_t intermediate = kIntermediate, int64_t layers = kLayers) {
  std::map<std::string, std::vector<int64_t>> shapes{{"model.embed_tokens.weight", {7, hidden}},
                                                     {"model.norm.weight", {hidden}},
                                                     {"lm_head.weight", {7, hidden}}};
  for (int64_t i = 0; i < layers; ++i) {
    for (const std::string norm : {"input_layernorm", "post_attention_layernorm"}) {
      shapes[layer(i) + norm + ".weight"] = {hidden};
    }
    for (const std::string projection : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      shapes[layer(i) + "self_attn." + projection + ".weight"] = {hidden, hidden};
    }
    shapes[layer(i) + "mlp.gate_proj.weight"] = {intermediate, hidden};
    shapes[layer(i) + "mlp.up_proj.weight"] = {intermediate, hidden};
    shapes[layer(i) + "mlp.down_proj.weight"] = {hidden, intermediate};
  }
  Weights weights;
  uint64_t stream = 0;
  for (const auto& [name, shape] : shapes) {
    const int64_t count = at::empty(shape).numel();
    weights[name] = normal(key, stream++, 0, count).view(shape).to(dtype);
  }
  return weights;
}

nlohmann::json llama_config() {
  return {{"model_type", "llama"},
          {"num_hidden_layers", kLayers},
          {"hidden_size", kHidden},
          {"num_attention_heads", 2},
          {"intermediate_size", kIntermediate},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 5e5},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"initializer_range", 0.05},
          {"architectures", {"LlamaForCausalLM"}}};
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.dtype() == b.dtype() && a.sizes() == b.sizes() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

bool is_router(const std::string& name) {
  return name.ends_with("block_sparse_moe.gate.weight");
}

// The mixture of `base` and `experts` by hand, without its routers.
Weights by_hand(const Weights& base, const std::vector<Weights>& experts) {
  Weights all;
  for (const auto& [name, tensor] : base) {
    if (name.find(".mlp.") == std::string::npos) {
      all[name] = tensor;
    }
  }
  for (int64_t i = 0; i < kLayers; ++i) {
    for (size_t e = 0; e < experts.size(); ++e) {
      const std::string expert = layer(i) + "block_sparse_moe.experts." + std::to_string(e) + ".";
      all[expert + "w1.weight"] = experts[e].at(layer(i) + "mlp.gate_proj.weight");
      all[expert + "w2.weight"] = experts[e].at(layer(i) + "mlp.down_proj.weight");
      all[expert + "w3.weight"] = experts[e].at(layer(i) + "mlp.up_proj.weight");
    }
  }
  return all;
}

void expect_all_but_routers(const Weights& mixture, const Weights& expected, size_t routers) {
  EXPECT_EQ(mixture.size(), expected.size() + routers);
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(mixture.contains(name)) << name;
    EXPECT_TRUE(same_bytes(mixture.at(name), tensor)) << name;
  }
}

class Mixtures : public testing::Test {
 protected:
  Mixtures() {
    add("base", base_);
    add("a", a_);
    add("b", b_);
  }
  std::string add(const std::string& name, const Weights& weights,
                  const nlohmann::json& config = llama_config()) const {
    save_hf_folder(folder / name, weights, config);
    return path(name);
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string of(const std::string& parameters, const std::string& base,
                 const std::vector<std::string>& experts) const {
    std::string text = "moe" + parameters + "(" + path(base) + ";";
    for (size_t i = 0; i < experts.size(); ++i) {
      text += (i == 0 ? " " : ", ") + path(experts[i]);
    }
    return text + ")";
  }
  static Weights open(const std::string& text) { return read_all(*open_model(text, nullptr)); }
  // Of a model of these weights and this configuration as an expert, and as the base.
  std::string refused_expert(const Weights& weights, const nlohmann::json& config = llama_config()) {
    const std::string name = "expert" + std::to_string(count_++);
    add(name, weights, config);
    return message_of<ConfigError>([&] { open(of("", "base", {"a", name})); });
  }
  std::string refused_base(const Weights& weights, const nlohmann::json& config = llama_config()) {
    const std::string name = "base" + std::to_string(count_++);
    add(name, weights, config);
    return message_of<ConfigError>([&] { open(of("", name, {"a", "b"})); });
  }
  static nlohmann::json with(const std::string& key, const nlohmann::json& value) {
    nlohmann::json config = llama_config();
    config[key] = value;
    return config;
  }
  static nlohmann::json without(const std::string& key) {
    nlohmann::json config = llama_config();
    config.erase(key);
    return config;
  }

  const Weights base_ = llama(1), a_ = llama(2), b_ = llama(3);
  TemporaryFolder folder;
  int count_ = 0;
};

TEST(GoldenMixture, equals_what_mergekit_writes) {
  const std::filesystem::path golden = source_folder() / "tests/golden/mixture";
  const auto folder = [&](const char* name) { return (golden / name).string(); };
  const auto model =
      parse_model("moe(" + folder("base") + "; " + folder("expert0") + ", " + folder("expert1") + ")");
  const SafetensorsFile expected(golden / "expected.safetensors");
  const Weights mixture = read_all(*model->open(nullptr, {}));
  ASSERT_EQ(mixture.size(), expected.tensors().size());
  int routers = 0;
  for (const auto& [name, tensor] : mixture) {
    const at::Tensor theirs = expected.read(name);
    if (is_router(name)) {  // random in both
      EXPECT_EQ(tensor.sizes(), theirs.sizes());
      EXPECT_EQ(tensor.dtype(), theirs.dtype());
      ++routers;
    } else {
      EXPECT_TRUE(same_bytes(tensor, theirs)) << name;
    }
  }
  EXPECT_EQ(routers, 2);

  nlohmann::json theirs = nlohmann::json::parse(read_text(golden / "expected_config.json"));
  // transformers 5 calls them so
  theirs["torch_dtype"] = theirs.at("dtype");
  theirs["rope_theta"] = theirs.at("rope_parameters").at("rope_theta");
  const nlohmann::json config = model->config({});
  EXPECT_GE(config.size(), 20U);
  for (const auto& [key, value] : config.items()) {
    EXPECT_EQ(value, theirs.value(key, nlohmann::json("absent"))) << key;
  }
}

TEST_F(Mixtures, have_the_mlps_of_the_experts_and_all_else_of_the_base) {
  const Weights mixture = open(of("", "base", {"a", "b", "base", "a"}));
  expect_all_but_routers(mixture, by_hand(base_, {a_, b_, base_, a_}), kLayers);
  const auto source = open_model(of("", "base", {"a", "b"}), nullptr);
  EXPECT_TRUE(std::is_sorted(source->tensors().begin(), source->tensors().end(),
                             [](const TensorInfo& x, const TensorInfo& y) { return x.name < y.name; }));
  source->check_unchanged();
}

TEST_F(Mixtures, of_copies_are_the_base_scaled_up) {
  const Weights copies = open("moe{num_experts=3}(" + path("base") + ")");
  expect_all_but_routers(copies, by_hand(base_, {base_, base_, base_}), kLayers);
  EXPECT_EQ(digest(copies), digest(open(of("", "base", {"base", "base", "base"}))));
}

// Box-Muller on Philox words, as core/philox.h describes it.
double normal_by_hand(uint64_t key, uint64_t stream, uint64_t element) {
  const auto words = philox(key, stream, element / 2);
  const uint64_t mantissa = uint64_t{words[0]} << 20 | words[1] >> 12;
  const double first = std::ldexp(static_cast<double>(mantissa) + 1, -52);
  const double angle = 2 * std::numbers::pi * std::ldexp(words[2], -32);
  return std::sqrt(-2 * std::log(first)) * (element % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

TEST_F(Mixtures, have_random_routers_that_depend_on_seed_layer_and_element_alone) {
  add("float_base", llama(1, at::kFloat));
  for (const int64_t seed : {0, 5}) {
    const Weights mixture =
        open(of("{seed=" + std::to_string(seed) + "}", "float_base", {"a", "b", "a", "b", "a"}));
    const uint64_t key = derive_key(static_cast<uint64_t>(seed), "moe/router");
    for (int64_t i = 0; i < kLayers; ++i) {
      const at::Tensor router = mixture.at(layer(i) + "block_sparse_moe.gate.weight");
      ASSERT_EQ(router.sizes().vec(), (std::vector<int64_t>{5, kHidden}));
      for (int64_t e = 0; e < router.numel(); ++e) {
        const double expected =
            0.05 * normal_by_hand(key, static_cast<uint64_t>(i), static_cast<uint64_t>(e));
        EXPECT_NEAR(router.flatten()[e].item<double>(), expected, 1e-8);
      }
    }
  }
  // other experts or parts of them change no number that is there
  const auto few = open_model(of("", "float_base", {"a", "b"}), nullptr);
  const auto many = open_model(of("", "float_base", {"b", "b", "b"}), nullptr);
  const std::string name = layer(1) + "block_sparse_moe.gate.weight";
  std::array<float, 2 * kHidden> whole{};
  few->read_range(name, 0, 2 * kHidden, whole.data());
  for (const int64_t begin : {0, 3, 7}) {
    std::array<float, 5> part{};
    many->read_range(name, begin, 5, part.data());
    EXPECT_EQ(std::memcmp(part.data(), whole.data() + begin, sizeof part), 0) << begin;
  }
}

TEST_F(Mixtures, have_routers_of_the_deviation_that_configurations_are_silent_about) {
  add("silent", base_, without("initializer_range"));
  const at::Tensor router = open(of("", "silent", {"a", "b"})).at(layer(0) + "block_sparse_moe.gate.weight");
  EXPECT_EQ(router.dtype(), at::kBFloat16);
  const double expected = 0.02 * normal_by_hand(derive_key(0, "moe/router"), 0, 1);
  EXPECT_NEAR(router.flatten()[1].item<double>(), expected, std::abs(expected) / 256);
}

TEST_F(Mixtures, have_the_dtypes_of_the_base) {
  const Weights wide = llama(9, at::kFloat, kHidden, 20'000);  // several blocks of conversion
  nlohmann::json config = with("intermediate_size", 20'000);
  add("wide_base", llama(8, at::kBFloat16, kHidden, 20'000), config);
  add("wide", wide, config);
  const auto mixture = open_model(of("", "wide_base", {"wide", "wide_base"}), nullptr);
  for (const TensorInfo& info : mixture->tensors()) {
    EXPECT_EQ(info.dtype, at::kBFloat16) << info.name;
  }
  const Weights all = read_all(*mixture);
  const at::Tensor down = wide.at(layer(1) + "mlp.down_proj.weight").to(at::kBFloat16);
  const std::string name = layer(1) + "block_sparse_moe.experts.0.w2.weight";
  EXPECT_TRUE(same_bytes(all.at(name), down));
  at::Tensor part = at::empty({70'000}, at::kBFloat16);
  mixture->read_range(name, 123, 70'000, part.mutable_data_ptr());
  EXPECT_TRUE(same_bytes(part, down.flatten().narrow(0, 123, 70'000).contiguous()));
}

TEST_F(Mixtures, take_stacks_of_layers_and_tied_embeddings) {
  const std::string stack = path("base") + "[0:2]+" + path("base") + "[1:2]";
  const auto model = parse_model("moe{num_experts=2}(" + stack + ")");
  const Weights mixture = read_all(*model->open(nullptr, {}));
  EXPECT_TRUE(same_bytes(mixture.at(layer(2) + "block_sparse_moe.experts.1.w3.weight"),
                         base_.at(layer(1) + "mlp.up_proj.weight")));
  EXPECT_EQ(model->config({}).at("num_hidden_layers"), 3);
  Weights tied = base_;
  tied.erase("lm_head.weight");
  add("tied", tied, with("tie_word_embeddings", true));
  EXPECT_FALSE(open(of("", "tied", {"a", "b"})).contains("lm_head.weight"));  // the experts have one
  EXPECT_THAT(refused_base(tied), HasSubstr("lacks 'lm_head.weight'"));
}

TEST_F(Mixtures, notice_a_file_that_changes) {
  const auto mixture = open_model(of("", "base", {"a", "b"}), nullptr);
  const auto file = folder / "b" / "model.safetensors";
  write_text(file, read_text(file) + " ");
  EXPECT_THAT(message_of<DataError>([&] { mixture->check_unchanged(); }), HasSubstr("must not change"));
}

TEST_F(Mixtures, are_known_by_what_they_are_made_of) {
  const auto mixture = parse_model(of("{seed=3}", "base", {"a", "b", "a"}));
  EXPECT_FALSE(mixture->is_folder());
  EXPECT_EQ(mixture->default_name(), "base-moe");
  EXPECT_EQ(mixture->folders(), (std::vector<std::filesystem::path>{path("base"), path("a"), path("b")}));
  EXPECT_EQ(mixture->identity(), "moe{experts_per_token=2,seed=3}(" + path("base") + "; " + path("a") + ", " +
                                     path("b") + ", " + path("a") + ")");
  // copies are known by what they are, not by how they are written
  EXPECT_EQ(parse_model("moe{num_experts=2}(" + path("base") + "/../base)")->identity(),
            parse_model(of("", "base", {"base", "base"}))->identity());
  std::filesystem::create_directory(folder / "moe(x)");
  const auto here = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_TRUE(parse_model("moe(x)")->is_folder());  // a folder that is there goes first
  std::filesystem::current_path(here);
}

TEST_F(Mixtures, wrongly_written_are_refused) {
  const auto error = [](const std::string& text) {
    return message_of<ConfigError>([&] { parse_model(text); });
  };
  EXPECT_THAT(error("moe(a; b, c"),
              AllOf(HasSubstr("must be written moe{"), HasSubstr("no list in parentheses")));
  EXPECT_THAT(error("moe{seed=1}"), HasSubstr("no list in parentheses"));
  EXPECT_THAT(error("moe(a; b, c)[0:2]"), HasSubstr("no list in parentheses"));
  EXPECT_THAT(error("moe{seed=1(a; b, c)"), HasSubstr("must end with '}'"));
  EXPECT_THAT(error("moe()"), HasSubstr("has no BASE"));
  EXPECT_THAT(error("moe(; a, b)"), HasSubstr("has no BASE"));
  EXPECT_THAT(error("moe(a)"), HasSubstr("write num_experts=N"));
  EXPECT_THAT(error("moe(a;)"), HasSubstr("an expert without a name"));
  EXPECT_THAT(error("moe(a; b,, c)"), HasSubstr("an expert without a name"));
  EXPECT_THAT(error("moe(a; b; c)"), HasSubstr("more than one ';'"));
  EXPECT_THAT(error("moe{num_experts=2}(a; b, c)"), HasSubstr("leave one of the two out"));
  EXPECT_THAT(error("moe{experts=2}(a)"),
              AllOf(HasSubstr("no parameter 'experts'"), HasSubstr("num_experts")));
  EXPECT_THAT(error("moe{seed=one}(a; b, c)"), HasSubstr("'seed'"));
  EXPECT_THAT(error("moe{experts_per_token=0}(a; b, c)"),
              AllOf(HasSubstr("'experts_per_token'"), HasSubstr("but it is 0")));
  EXPECT_THAT(error("moe{experts_per_token=3}(a; b, c)"),
              AllOf(HasSubstr("at most the number of experts, 2"), HasSubstr("but it is 3")));
  EXPECT_THAT(error("moe(a; b)"), HasSubstr("write experts_per_token=1"));
  EXPECT_THAT(error("moe{num_experts=5000}(a)"), HasSubstr("[0, 1024]"));
}

TEST_F(Mixtures, of_models_that_do_not_fit_are_refused) {
  EXPECT_THAT(message_of<ConfigError>([&] { open(of("", "base", {"a", "nowhere"})); }), HasSubstr("nowhere"));
  EXPECT_THAT(message_of<ConfigError>([&] { open(of("", "nowhere", {"a", "b"})); }), HasSubstr("nowhere"));
  EXPECT_THAT(refused_expert(llama(4, at::kFloat, kHidden, 12), with("intermediate_size", 12)),
              AllOf(HasSubstr("intermediate_size"), HasSubstr("has 12"), HasSubstr("' 10")));
  EXPECT_THAT(refused_expert(llama(4, at::kFloat, 8), with("hidden_size", 8)), HasSubstr("(hidden_size)"));
  EXPECT_THAT(refused_expert(llama(4, at::kFloat, kHidden, kIntermediate, 3), with("num_hidden_layers", 3)),
              AllOf(HasSubstr("as many layers"), HasSubstr("has 3"), HasSubstr("' 2")));
  // a configuration that is not the weights'
  EXPECT_THAT(refused_expert(llama(4, at::kFloat, kHidden, 12)),
              AllOf(HasSubstr("mlp.gate_proj.weight' must be floating [10, 6]"), HasSubstr("[12, 6]")));
  EXPECT_THAT(refused_expert(llama(4, at::kFloat, kHidden, kIntermediate, 3)),
              HasSubstr("has also 'model.layers.2.mlp.down_proj.weight'"));
  Weights lacking = a_;
  lacking.erase(layer(1) + "mlp.up_proj.weight");
  EXPECT_THAT(refused_expert(lacking), HasSubstr("lacks 'model.layers.1.mlp.up_proj.weight'"));
  Weights biased = a_;
  biased[layer(0) + "mlp.up_proj.bias"] = at::full({kIntermediate}, 1.0);
  EXPECT_THAT(refused_expert(biased), AllOf(HasSubstr("without biases"), HasSubstr("mlp.up_proj.bias")));
  Weights quantised = a_;
  quantised[layer(0) + "mlp.up_proj.weight"] = at::full({kIntermediate, kHidden}, 1, at::kChar);
  EXPECT_THAT(refused_expert(quantised),
              AllOf(HasSubstr("is quantised"), HasSubstr("mlp.up_proj.weight' is Char")));
  const std::string adapter = path("adapter");
  std::filesystem::create_directory(adapter);
  write_text(adapter + "/adapter_config.json", "{}");
  EXPECT_THAT(message_of<ConfigError>([&] {
                open(of("", "base", {"a", "adapter"}));
              }),
              AllOf(HasSubstr("is an adapter"), HasSubstr("--method passthrough")));
}

TEST_F(Mixtures, of_what_mixtral_cannot_express_are_refused) {
  for (const std::string type : {"gpt2", "clip", "qwen2"}) {
    EXPECT_THAT(refused_base(base_, with("model_type", type)),
                AllOf(HasSubstr("model_type llama or mistral"), HasSubstr("'" + type + "'")));
  }
  EXPECT_THAT(refused_base(base_, without("model_type")), HasSubstr("of no model_type"));
  nlohmann::json mixtral = with("model_type", "mixtral");
  mixtral["num_local_experts"] = 8;
  EXPECT_THAT(refused_expert(a_, mixtral), HasSubstr("a mixture already"));
  for (const auto& [key, value] :
       std::map<std::string, nlohmann::json>{{"attention_bias", true},
                                             {"mlp_bias", true},
                                             {"hidden_act", "gelu"},
                                             {"layer_types", {"full", "sliding"}},
                                             {"auto_map", {{"AutoModel", "x.Y"}}}}) {
    EXPECT_THAT(refused_expert(a_, with(key, value)), HasSubstr("has " + key + " = " + value.dump()));
  }
  EXPECT_THAT(refused_expert(a_, with("quantization_config", {{"bits", 4}})), HasSubstr("is quantised"));
  Weights biased = base_;
  biased[layer(0) + "self_attn.q_proj.bias"] = at::full({kHidden}, 1.0);
  EXPECT_THAT(refused_base(biased), HasSubstr("has also 'model.layers.0.self_attn.q_proj.bias'"));
  Weights lacking = base_;
  lacking.erase(layer(1) + "self_attn.k_proj.weight");
  EXPECT_THAT(refused_base(lacking), HasSubstr("lacks 'model.layers.1.self_attn.k_proj.weight'"));
  for (const std::string key :
       {"num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"}) {
    EXPECT_THAT(refused_base(base_, without(key)),
                AllOf(HasSubstr("must have '" + key + "' as a number"), HasSubstr("it has none")));
    EXPECT_THAT(refused_base(base_, with(key, -2)), HasSubstr("it has -2"));
  }
  EXPECT_THAT(refused_base(base_, with("initializer_range", "small")), HasSubstr("it has \"small\""));
}

TEST_F(Mixtures, have_the_configuration_of_a_mixtral_that_computes_what_the_base_does) {
  const auto config = [&](const nlohmann::json& base) {
    const std::string name = "configured" + std::to_string(count_++);
    add(name, base_, base);
    return parse_model(of("{experts_per_token=1}", name, {"a", "b", "a"}))->config({});
  };
  const nlohmann::json plain = config(llama_config());
  EXPECT_EQ(plain.at("model_type"), "mixtral");
  EXPECT_EQ(plain.at("architectures"), nlohmann::json({"MixtralForCausalLM"}));
  EXPECT_EQ(plain.at("num_local_experts"), 3);
  EXPECT_EQ(plain.at("num_experts_per_tok"), 1);
  EXPECT_EQ(plain.at("rope_theta"), 5e5);
  EXPECT_EQ(plain.at("num_key_value_heads"), 2);  // Llama's default: as many as heads; Mixtral's is 8
  EXPECT_FALSE(plain.contains("mlp_bias"));
  EXPECT_FALSE(plain.contains("attention_bias"));

  EXPECT_EQ(config(without("rope_theta")).at("rope_theta"), 1e4);
  EXPECT_EQ(config(without("rms_norm_eps")).at("rms_norm_eps"), 1e-6);
  EXPECT_EQ(plain.at("max_position_embeddings"), 2048);
  nlohmann::json five = without("rope_theta");  // as transformers 5 writes it
  five["rope_parameters"] = {{"rope_theta", 7e5}, {"rope_type", "default"}};
  EXPECT_FALSE(config(five).contains("rope_theta"));
  EXPECT_EQ(config(five).at("rope_parameters"), five["rope_parameters"]);
  const nlohmann::json scaling{{"rope_type", "llama3"}, {"factor", 8.0}};
  EXPECT_EQ(config(with("rope_scaling", scaling)).at("rope_scaling"), scaling);

  nlohmann::json mistral = with("model_type", "mistral");
  EXPECT_EQ(config(mistral).at("sliding_window"), 4096);  // Mistral's default
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(config(mistral).at("sliding_window"), nullptr);
  mistral["sliding_window"] = 512;
  EXPECT_EQ(config(mistral).at("sliding_window"), 512);
  EXPECT_EQ(config(with("sliding_window", 512)).at("sliding_window"), nullptr);  // Llama ignores it
}

}  // namespace
}  // namespace fusegrid
