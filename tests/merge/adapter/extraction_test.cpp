#include "merge/adapter/extraction.h"

#include <set>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/lora_expert.h"
#include "checkpoint/read_all.h"
#include "core/errors.h"
#include "core/philox.h"
#include "support/temporary_folder.h"

namespace fusegrid::adapters::extraction_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

at::Tensor random(uint64_t key, const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t side : shape) {
    count *= side;
  }
  return normal(key, 0, 0, count).view(shape);
}

// A language model's tensors, and a tuned one that changed all of them; matrices by rank 3 and some noise.
class TunedModel : public testing::Test {
 protected:
  TunedModel() {
    const std::map<std::string, std::vector<int64_t>> shapes{
        {"lm_head.weight", {20, 12}},
        {"model.embed_tokens.weight", {20, 12}},
        {"model.layers.0.mlp.up_proj.weight", {16, 12}},
        {"model.layers.0.norm.bias", {12}},
        {"model.layers.0.norm.weight", {12}},
        {"model.layers.0.self_attn.q_proj.bias", {12}},
        {"model.layers.0.self_attn.q_proj.weight", {12, 12}},
        {"model.layers.1.mlp.up_proj.weight", {16, 12}},
        {"model.layers.1.self_attn.q_proj.weight", {12, 12}}};
    uint64_t key = 1;
    for (const auto& [name, shape] : shapes) {
      base_.emplace(name, random(key, shape) * 0.2);
      at::Tensor change = random(100 + key, shape) * 0.003;
      if (shape.size() == 2) {
        change =
            change + at::matmul(random(200 + key, {shape[0], 3}), random(300 + key, {3, shape[1]})) * 0.02;
      }
      tuned_.emplace(name, base_.at(name) + change);
      ++key;
    }
  }
  HfFolder save(const std::string& name, const Weights& weights) {
    save_hf_folder(folder_ / name, weights, config_);
    return HfFolder(folder_ / name);
  }
  Extraction extract(const ExtractionOptions& options) {
    const HfFolder base = save("base", base_);
    const HfFolder tuned = save("tuned", tuned_);
    return extract_adapter(base, tuned, options);
  }
  std::string refusal(const ExtractionOptions& options) {
    return message_of<ConfigError>([&] { extract(options); });
  }
  // The model that the adapter makes of the base.
  Weights made(const Extraction& extraction) {
    save_lora_folder(folder_ / "adapter", extraction.adapter, "base");
    const HfFolder base(folder_ / "base");
    return read_all(LoraExpert(folder_ / "adapter", base));
  }

  TemporaryFolder folder_;
  nlohmann::json config_{{"model_type", "test"}, {"architectures", {"TestForCausalLM"}}};
  Weights base_, tuned_;
};

TEST_F(TunedModel, IsReachedAsCloseAsTheRankAllows) {
  const Extraction extraction = extract({.rule = {.rank = 4, .energy = {}}, .alpha = {}, .modules = {}});
  const Weights got = made(extraction);
  for (const ExtractedModule& module : extraction.modules) {
    const std::string name = module.name + ".weight";
    const at::Tensor change = tuned_.at(name).to(at::kDouble) - base_.at(name).to(at::kDouble);
    const at::Tensor s = std::get<1>(at::linalg_svd(change, false));
    const double smallest = s.narrow(0, 4, s.numel() - 4).norm().item<double>();
    EXPECT_NEAR((tuned_.at(name) - got.at(name)).norm().item<double>(), smallest, 1e-6) << name;
    EXPECT_NEAR(module.error_norm, smallest, 1e-7) << name;
    EXPECT_NEAR(module.norm, change.norm().item<double>(), 1e-7) << name;
    EXPECT_EQ(module.rank, 4);
  }
  EXPECT_EQ(extraction.modules.size(), 5U);
  EXPECT_THAT(extraction.adapter.targets, ElementsAre("lm_head", "q_proj", "up_proj"));
  EXPECT_EQ(extraction.adapter.task_type, "CAUSAL_LM");
  ASSERT_EQ(extraction.rest.size(), 4U);
  EXPECT_EQ(extraction.rest[0].name, "model.embed_tokens.weight");
  EXPECT_FALSE(extraction.rest[0].saved);
  EXPECT_TRUE(got.at("model.layers.0.norm.weight").equal(base_.at("model.layers.0.norm.weight")));

  double change = 0;
  double lacking = 0;
  for (const auto& [name, values] : tuned_) {
    change += (values - base_.at(name)).to(at::kDouble).square().sum().item<double>();
    lacking += (values - got.at(name)).to(at::kDouble).square().sum().item<double>();
  }
  EXPECT_NEAR(extraction.relative_error(), std::sqrt(lacking / change), 1e-5);
}

TEST_F(TunedModel, IsReachedWhollyByAllTripletsAndTensorsHeldWhole) {
  const Extraction extraction =
      extract({.rule = {.rank = {}, .energy = 1.0}, .alpha = 7, .modules = {}, .rest = Rest::kSave});
  EXPECT_LT(extraction.relative_error(), 1e-5);
  const Weights got = made(extraction);
  for (const auto& [name, values] : tuned_) {
    EXPECT_TRUE(at::allclose(got.at(name), values, 0, 1e-6)) << name;
  }
  EXPECT_THAT(extraction.adapter.modules_to_save, ElementsAre("model.embed_tokens", "model.layers.0.norm"));
  EXPECT_TRUE(extraction.adapter.saved.contains("model.layers.0.self_attn.q_proj.bias"));
  const auto config = nlohmann::json::parse(read_text(folder_ / "adapter" / "adapter_config.json"));
  EXPECT_EQ(config.at("lora_alpha"), 7);
}

TEST_F(TunedModel, KeepsTheEnergyThatIsAskedFor) {
  for (const double energy : {0.5, 0.9, 0.99}) {
    const Extraction extraction =
        extract({.rule = {.rank = {}, .energy = energy}, .alpha = {}, .modules = {}});
    for (const ExtractedModule& module : extraction.modules) {
      const std::string name = module.name + ".weight";
      const at::Tensor s =
          std::get<1>(at::linalg_svd((tuned_.at(name) - base_.at(name)).to(at::kDouble), false)).square();
      const double all = s.sum().item<double>();
      EXPECT_GE(s.narrow(0, 0, module.rank).sum().item<double>(), energy * all * (1 - 1e-9)) << name;
      EXPECT_LT(s.narrow(0, 0, module.rank - 1).sum().item<double>(), energy * all) << name;
    }
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "tuned");
  }
}

TEST_F(TunedModel, GivesFactorsToTheModulesThatAreNamed) {
  const Extraction extraction = extract({.rule = {.rank = 12, .energy = {}},
                                         .alpha = {},
                                         .modules = {"0.self_attn.q_proj", "embed_tokens"},
                                         .rest = Rest::kDrop});
  EXPECT_THAT(extraction.adapter.targets,
              ElementsAre("model.embed_tokens", "model.layers.0.self_attn.q_proj"));
  const Weights got = made(extraction);
  EXPECT_TRUE(
      at::allclose(got.at("model.embed_tokens.weight"), tuned_.at("model.embed_tokens.weight"), 0, 1e-6));
  EXPECT_TRUE(got.at("model.layers.1.self_attn.q_proj.weight")
                  .equal(base_.at("model.layers.1.self_attn.q_proj.weight")));
}

TEST_F(TunedModel, TakesTheHeadAlongWhereTheBaseTiesIt) {
  base_.erase("lm_head.weight");
  tuned_.erase("lm_head.weight");
  config_["tie_word_embeddings"] = true;
  for (const bool factors : {true, false}) {
    const Extraction extraction =
        extract({.rule = {.rank = 12, .energy = {}},
                 .alpha = {},
                 .modules = factors ? std::vector<std::string>{"embed_tokens", "q_proj"}
                                    : std::vector<std::string>{"q_proj"},
                 .rest = Rest::kSave});
    if (factors) {
      EXPECT_TRUE(extraction.adapter.factors.contains("lm_head.weight"));
    } else {
      EXPECT_THAT(extraction.adapter.modules_to_save, testing::Contains("lm_head"));
    }
    const Weights got = made(extraction);
    EXPECT_FALSE(got.contains("lm_head.weight"));  // still tied
    EXPECT_TRUE(
        at::allclose(got.at("model.embed_tokens.weight"), tuned_.at("model.embed_tokens.weight"), 0, 1e-6));
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "tuned");
    std::filesystem::remove_all(folder_ / "adapter");
  }
}

TEST_F(TunedModel, OfGpt2HasItsLayersTurned) {
  config_ = {{"model_type", "gpt2"}, {"architectures", {"GPT2LMHeadModel"}}};
  base_ = {{"h.0.attn.c_attn.weight", random(1, {6, 18})}, {"score.weight", random(2, {3, 6})}};
  tuned_ = {{"h.0.attn.c_attn.weight", random(3, {6, 18})}, {"score.weight", random(4, {3, 6})}};
  const Extraction extraction = extract({.rule = {.rank = 6, .energy = {}}, .alpha = {}, .modules = {}});
  EXPECT_TRUE(extraction.adapter.fan_in_fan_out);
  EXPECT_EQ(extraction.adapter.factors.at("h.0.attn.c_attn.weight").b.size(0), 18);
  ASSERT_EQ(extraction.rest.size(), 1U);
  EXPECT_EQ(extraction.rest[0].name, "score.weight");
  EXPECT_TRUE(at::allclose(made(extraction).at("h.0.attn.c_attn.weight"), tuned_.at("h.0.attn.c_attn.weight"),
                           0, 1e-5));
}

TEST_F(TunedModel, GivesTheSameBytesForAnyNumberOfThreads) {
  std::set<std::string> bytes;
  for (const int threads : {1, 3}) {
    const Extraction extraction =
        extract({.rule = {.rank = 3, .energy = {}}, .alpha = {}, .modules = {}, .threads = threads});
    made(extraction);
    bytes.insert(read_text(folder_ / "adapter" / "adapter_model.safetensors"));
    for (const std::string name : {"base", "tuned", "adapter"}) {
      std::filesystem::remove_all(folder_ / name);
    }
  }
  EXPECT_EQ(bytes.size(), 1U);
}

TEST_F(TunedModel, IsRefusedWithTheReason) {
  const RankRule rank{.rank = 2, .energy = {}};
  const auto again = [&](const ExtractionOptions& options) {
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "tuned");
    return refusal(options);
  };
  EXPECT_THAT(again({.rule = {.rank = 13, .energy = {}}, .alpha = {}, .modules = {}}),
              AllOf(HasSubstr("is 13 and the largest of them is 12"), HasSubstr("at most")));
  EXPECT_THAT(again({.rule = {.rank = {}, .energy = 1.5}, .alpha = {}, .modules = {}}), HasSubstr("(0, 1]"));
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {"qproj"}}),
              AllOf(HasSubstr("no module whose name ends in 'qproj'"), HasSubstr("did you mean 'q_proj'?")));
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {"norm"}}),
              AllOf(HasSubstr("'model.layers.0.norm'"), HasSubstr("[12]"), HasSubstr("leave it out")));
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {}, .rest = Rest::kRefuse}),
              AllOf(HasSubstr("also changes 'model.embed_tokens.weight'"), HasSubstr("--rest save")));
  tuned_ = base_;
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {}}), HasSubstr("no adapter to extract"));
  base_ = {{"shared.weight", random(1, {9, 4})}, {"encoder.q.weight", random(2, {4, 4})}};
  tuned_ = {{"shared.weight", random(3, {9, 4})}, {"encoder.q.weight", random(4, {4, 4})}};
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {}, .rest = Rest::kSave}),
              AllOf(HasSubstr("'shared.weight'"), HasSubstr("reaches neither"), HasSubstr("--rest drop")));
  base_.emplace("encoder.positions", random(5, {9, 4}));
  tuned_.emplace("encoder.positions", random(6, {9, 4}));
  tuned_["shared.weight"] = base_["shared.weight"];
  EXPECT_THAT(again({.rule = rank, .alpha = {}, .modules = {}, .rest = Rest::kSave}),
              AllOf(HasSubstr("'encoder.positions'"), HasSubstr("beside modules")));
}

TEST_F(TunedModel, WithNaNIsRefused) {
  for (const std::string name : {"model.layers.0.norm.weight", "lm_head.weight"}) {
    auto damaged = tuned_.at(name).clone();
    damaged.view({-1})[3] = std::nan("");
    std::swap(tuned_.at(name), damaged);
    EXPECT_THAT(message_of<DataError>(
                    [&] { extract({.rule = {.rank = 2, .energy = {}}, .alpha = {}, .modules = {}}); }),
                AllOf(HasSubstr(name), HasSubstr("NaN or infinity")));
    std::swap(tuned_.at(name), damaged);
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "tuned");
  }
}

TEST(LowRank, OfFactorsIsThatOfTheirProduct) {
  const LowRankFactors factors{random(1, {30, 4}), random(2, {4, 25}), 1.5};
  const at::Tensor product = at::matmul(factors.b.to(at::kDouble), factors.a.to(at::kDouble)) * 1.5;
  for (const int64_t rank : {1, 3, 4}) {
    const LowRankUpdate fast = cut_to_rank(factors, {.rank = rank, .energy = {}}, "x");
    const LowRankUpdate plain = cut_to_rank(product, {.rank = rank, .energy = {}}, "x");
    EXPECT_EQ(fast.factors.a.size(0), rank);
    EXPECT_TRUE(at::allclose(at::matmul(fast.factors.b, fast.factors.a),
                             at::matmul(plain.factors.b, plain.factors.a), 0, 1e-5));
    EXPECT_NEAR(fast.relative_error(), plain.relative_error(), 1e-6);
  }
}

}  // namespace
}  // namespace fusegrid::adapters::extraction_test
