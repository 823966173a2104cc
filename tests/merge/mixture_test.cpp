// Mixtures of experts as inputs of merges.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "merge/checkpoints.h"
#include "merge/local_inputs.h"
#include "merge/manifest.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int64_t kHidden = 96;
constexpr int64_t kIntermediate = 700;  // matrices of more than one block
constexpr int64_t kLayers = 2;

std::string layer(int64_t number) {
  return "model.layers." + std::to_string(number) + ".";
}

Weights random_llama(uint64_t key) {
  std::map<std::string, std::vector<int64_t>> shapes{{"model.embed_tokens.weight", {50, kHidden}},
                                                     {"model.norm.weight", {kHidden}},
                                                     {"lm_head.weight", {50, kHidden}}};
  for (int64_t i = 0; i < kLayers; ++i) {
    shapes[layer(i) + "input_layernorm.weight"] = {kHidden};
    shapes[layer(i) + "post_attention_layernorm.weight"] = {kHidden};
    for (const std::string projection : {"q", "k", "v", "o"}) {
      shapes[layer(i) + "self_attn." + projection + "_proj.weight"] = {kHidden, kHidden};
    }
    shapes[layer(i) + "mlp.gate_proj.weight"] = {kIntermediate, kHidden};
    shapes[layer(i) + "mlp.up_proj.weight"] = {kIntermediate, kHidden};
    shapes[layer(i) + "mlp.down_proj.weight"] = {kHidden, kIntermediate};
  }
  Weights weights;
  uint64_t stream = 0;
  for (const auto& [name, shape] : shapes) {
    const int64_t count = at::empty(shape).numel();
    weights[name] = normal(key, stream++, 0, count).view(shape) * 0.05;
  }
  return converted(weights, at::kBFloat16);
}

// The routers too: layer l is stream l of the seed's normal numbers.
Weights by_hand(const Weights& base, const std::vector<Weights>& experts, uint64_t seed) {
  Weights all;
  for (const auto& [name, tensor] : base) {
    if (name.find(".mlp.") == std::string::npos) {
      all[name] = tensor;
    }
  }
  const auto count = static_cast<int64_t>(experts.size());
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string moe = layer(i) + "block_sparse_moe.";
    const at::Tensor numbers =
        normal(derive_key(seed, "moe/router"), static_cast<uint64_t>(i), 0, count * kHidden) * 0.02;
    all[moe + "gate.weight"] = numbers.to(at::kBFloat16).view({count, kHidden});
    for (size_t e = 0; e < experts.size(); ++e) {
      const std::string expert = moe + "experts." + std::to_string(e) + ".";
      all[expert + "w1.weight"] = experts[e].at(layer(i) + "mlp.gate_proj.weight");
      all[expert + "w2.weight"] = experts[e].at(layer(i) + "mlp.down_proj.weight");
      all[expert + "w3.weight"] = experts[e].at(layer(i) + "mlp.up_proj.weight");
    }
  }
  return all;
}

class MixtureMerges : public testing::Test {
 protected:
  MixtureMerges() {
    const nlohmann::json config{
        {"model_type", "llama"},    {"architectures", {"LlamaForCausalLM"}}, {"num_hidden_layers", kLayers},
        {"hidden_size", kHidden},   {"intermediate_size", kIntermediate},    {"num_attention_heads", 4},
        {"torch_dtype", "bfloat16"}};
    for (const auto& [name, weights] : models_) {
      save_hf_folder(folder / name, weights, config, {{"tokenizer.json", "of " + name}});
    }
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string mixture(const std::string& first, const std::string& second) const {
    return "moe{seed=7}(" + path("base") + "; " + path(first) + ", " + path(second) + ")";
  }
  MergeSpec spec(const std::string& method, const std::vector<std::string>& experts) const {
    MergeSpec spec;
    for (const std::string& expert : experts) {
      spec.experts.push_back({"e" + std::to_string(spec.experts.size()), expert});
    }
    spec.methods.push_back({method, {}});
    spec.out = folder / "out";
    return spec;
  }

  const std::map<std::string, Weights> models_{
      {"base", random_llama(1)}, {"a", random_llama(2)}, {"b", random_llama(3)}};
  TemporaryFolder folder;
};

TEST_F(MixtureMerges, pass_through_to_the_bit_on_any_number_of_ranks) {
  const std::string expected = digest(by_hand(models_.at("base"), {models_.at("a"), models_.at("b")}, 7));
  for (const int ranks : {1, 3}) {
    for (const int64_t shard_bytes : {int64_t{0}, int64_t{200'000}}) {
      MergeSpec mixture_spec = spec("passthrough", {mixture("a", "b")});
      if (shard_bytes > 0) {
        mixture_spec.shard_bytes = shard_bytes;
      }
      merge(mixture_spec, ranks);
      EXPECT_EQ(folder_digest(mixture_spec.out), expected) << ranks << " " << shard_bytes;
      EXPECT_TRUE(verify_merged(mixture_spec.out).front().differences.empty());
      EXPECT_EQ(std::filesystem::exists(mixture_spec.out / "model.safetensors.index.json"), shard_bytes > 0);
      std::filesystem::remove_all(mixture_spec.out);
    }
  }
}

TEST_F(MixtureMerges, write_the_folder_of_a_mixtral) {
  MergeSpec passed = spec("passthrough", {"moe{num_experts=3}(" + path("base") + ")"});
  passed.dtype = at::kFloat;
  merge(passed, 1);
  const auto config = nlohmann::json::parse(read_text(passed.out / "config.json"));
  EXPECT_EQ(config.at("model_type"), "mixtral");
  EXPECT_EQ(config.at("num_local_experts"), 3);
  EXPECT_EQ(config.at("torch_dtype"), "float32");
  EXPECT_EQ(read_text(passed.out / "tokenizer.json"), "of base");
  const auto manifest = nlohmann::json::parse(read_text(passed.out / kManifestFile));
  const auto& input = manifest.at("inputs").at(0);
  const std::string base = path("base");
  EXPECT_EQ(input.at("path"),
            "moe{experts_per_token=2,seed=0}(" + base + "; " + base + ", " + base + ", " + base + ")");
  EXPECT_EQ(input.at("tensors").size(), HfFolder(passed.out).tensors().size());
}

TEST_F(MixtureMerges, are_merged_as_the_models_they_are) {
  MergeSpec both = spec("simple_average", {mixture("a", "b"), mixture("b", "a")});
  merge(both, 2);
  const auto mean = [&](const std::string& matrix) {
    const std::string name = layer(1) + "mlp." + matrix + ".weight";
    return ((models_.at("a").at(name).to(at::kFloat) + models_.at("b").at(name).to(at::kFloat)) / 2)
        .to(at::kBFloat16);
  };
  const HfFolder merged(both.out);
  const std::string moe = layer(1) + "block_sparse_moe.";
  for (const std::string expert : {"0.", "1."}) {
    EXPECT_TRUE(merged.read(moe + "experts." + expert + "w1.weight").equal(mean("gate_proj")));
    EXPECT_TRUE(merged.read(moe + "experts." + expert + "w2.weight").equal(mean("down_proj")));
  }
  const Weights one = by_hand(models_.at("base"), {models_.at("a"), models_.at("b")}, 7);
  EXPECT_TRUE(merged.read(moe + "gate.weight").equal(one.at(moe + "gate.weight")));  // of one seed
}

TEST_F(MixtureMerges, fit_mixtures_only) {
  EXPECT_THAT(message_of<ConfigError>([&] {
                plan_merge(spec("simple_average", {mixture("a", "b"), path("a")}));
              }),
              AllOf(HasSubstr("lacks model.layers.0.block_sparse_moe.experts.0.w1.weight"),
                    HasSubstr("has also model.layers.0.mlp.down_proj.weight")));
}

TEST_F(MixtureMerges, of_other_files_or_another_seed_do_not_continue) {
  const auto identity = [&](const std::string& expert) {
    return plan_merge(spec("passthrough", {expert})).identity;
  };
  const std::string before = identity(mixture("a", "b"));
  EXPECT_EQ(identity(mixture("../" + folder.path().filename().string() + "/a", "b")), before);
  EXPECT_NE(identity(mixture("b", "a")), before);
  EXPECT_NE(identity("moe{seed=8}(" + path("base") + "; " + path("a") + ", " + path("b") + ")"), before);
  std::filesystem::last_write_time(folder / "b" / "model.safetensors",
                                   std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_NE(identity(mixture("a", "b")), before);
}

TEST_F(MixtureMerges, and_stacks_cannot_be_on_the_disks_of_some_ranks) {
  for (const std::string& made : {mixture("a", "b"), path("a") + "[0:1]+" + path("b") + "[1:2]"}) {
    MergeSpec expert = spec("simple_average", {path("a"), made});
    MergeSpec base = spec("task_arithmetic", {path("a")});
    base.base = made;
    for (MergeSpec* local : {&expert, &base}) {
      local->inputs_are_local = true;
      EXPECT_THAT(message_of<AgreedError>([&] { LocalInputs(*local, *local_collectives()); }),
                  AllOf(StartsWith("with --inputs-are local models must be folders"), HasSubstr(made)));
    }
  }
}

}  // namespace
}  // namespace fusegrid
