#include <fstream>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoo/folders.h"
#include "zoo/question_world.h"
#include "zoo/recipe.h"
#include "zoo/token_recipe.h"

namespace fusegrid::test {
namespace {

using Kind = ZooItem::Kind;
using testing::HasSubstr;

class Seq2SeqRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(question_plan); }
  static void TearDownTestSuite() { delete made_; }
  Seq2SeqRecipe() : TokenRecipe(question_plan, *made_) {}

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(Seq2SeqRecipe, ABaseIsAnEncoderDecoderThatAnswersAllTasks) {
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "t5");
  EXPECT_EQ(folder.config().at("vocab_size"), 26);
  EXPECT_EQ(folder.config().at("eos_token_id"), 2);
  EXPECT_EQ(folder.config().at("decoder_start_token_id"), 0);
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/heads.safetensors")) << "models make tokens themselves";
  EXPECT_TRUE(fs::exists(folder.path() / "tokenizer.json"));
  EXPECT_GT(value(made_->result, "token_loss", "train"), 0);
  EXPECT_GE(value(made_->result, "exact_match/first"), 0);
}

TEST_F(Seq2SeqRecipe, PretrainingTwiceGivesTheSameBits) {
  EXPECT_EQ(make(Kind::kBase).facts, made_->result.facts);
  EXPECT_NE(make(Kind::kBase, "", 1).facts, made_->result.facts);
}

TEST_F(Seq2SeqRecipe, TheLossOfPretrainingFalls) {
  plan_.overrides["base_steps"] = 1;
  const double first = value(make(Kind::kBase), "token_loss", "train");
  plan_.overrides["base_steps"] = 300;
  EXPECT_LT(value(make(Kind::kBase), "token_loss", "train"), first - 1);
}

TEST_F(Seq2SeqRecipe, AnExpertTrainsTheMatricesOfLayersAndLearnsToAnswer) {
  plan_.overrides["expert_steps"] = 300;
  plan_.overrides["expert_lr"] = 0.01;
  const Result expert = make(Kind::kExpert, "first");
  const auto architecture = make_architecture(HfFolder(plan_.folder / "seed-0/base").config());
  EXPECT_EQ(changed("experts/first"), layer_matrices(*architecture));
  EXPECT_GT(value(expert, "exact_match", "val"), 0.5) << "of three answers";
  EXPECT_EQ(make(Kind::kExpert, "first").facts, expert.facts) << "the same bits";
}

// What adapters change: of the queries and values of all attention, of the encoder, the decoder, and between them.
TEST_F(Seq2SeqRecipe, AdaptersAreOfQueriesAndValuesAndLearnToAnswer) {
  plan_.overrides["lora"] = 4;
  plan_.overrides["expert_steps"] = 300;
  plan_.overrides["expert_lr"] = 0.02;
  const Result expert = make(Kind::kExpert, "first");
  EXPECT_GT(value(expert, "exact_match", "val"), 0.4) << "of three answers";
  EXPECT_EQ(make(Kind::kExpert, "first").facts, expert.facts) << "the same bits";

  const fs::path folder = plan_.folder / "seed-0/experts/first";
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  const auto config = nlohmann::json::parse(std::ifstream(folder / "adapter_config.json"));
  EXPECT_EQ(config.at("base_model_name_or_path"), "../../base");
  EXPECT_EQ(config.at("r"), 4);
  EXPECT_EQ(config.at("lora_alpha"), 8);
  EXPECT_TRUE(fs::exists(folder / "provenance.json"));

  const Weights base = model("base");
  const auto architecture = make_architecture(HfFolder(plan_.folder / "seed-0/base").config());
  const Weights merged = load_weights(*architecture, plan_.folder / "seed-0/base", folder, at::kCPU);
  EXPECT_EQ(digest(merged), expert.facts.at("weights_sha256"));
  size_t adapted = 0;
  for (const auto& [name, tensor] : merged) {
    const bool expected = name.ends_with("Attention.q.weight") || name.ends_with("Attention.v.weight");
    EXPECT_EQ(!tensor.equal(base.at(name)), expected) << name;
    adapted += expected ? 1 : 0;
  }
  EXPECT_EQ(adapted, 2U * (2 + 2 * 2)) << "two matrices of each of the attentions of 2 + 2 blocks";
}

TEST_F(Seq2SeqRecipe, AZooOfAdaptersIsSound) {
  plan_.overrides["lora"] = 2;
  const Zoo zoo = make_zoo();
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  ASSERT_TRUE(zoo.replicates.front().multitask);
  EXPECT_TRUE(fs::exists(*zoo.replicates.front().multitask / "adapter_config.json"));
  const auto base = plan_.folder / "seed-0/base";
  const auto architecture = make_architecture(HfFolder(base).config());
  const auto models =
      load_models(*architecture, zoo, zoo.replicates.front(), {"base", "expert/first"}, at::kCPU);
  EXPECT_TRUE(models[0].factors.empty());
  EXPECT_EQ(models[0].key, models[0].digest);
  EXPECT_EQ(models[1].factors.size(), 12U);
  EXPECT_TRUE(models[1].key.starts_with(models[1].digest + "/"));
  EXPECT_THAT(refusal_of([&] { zoo.replicate(1); }),
              testing::AllOf(HasSubstr("fusegrid zoo build seq2seq --scale small --seeds 1 --out "),
                             HasSubstr(" --set lora=2"), HasSubstr(" --set expert_steps=10")));
}

TEST_F(Seq2SeqRecipe, AdaptersHaveDefaultsOfTheirOwnThatOverridesReplace) {
  const auto described = [&](const nlohmann::json& overrides) {
    plan_.overrides = overrides;
    return described_recipe(plan_);
  };
  EXPECT_EQ(described(nlohmann::json::object()).at("expert_steps"), 350);
  EXPECT_EQ(described({{"lora", 16}}).at("expert_steps"), 700);
  EXPECT_EQ(described({{"lora", 16}}).at("expert_lr"), 3e-4);
  EXPECT_EQ(described({{"lora", 16}, {"expert_lr", 0.5}}).at("expert_lr"), 0.5);
  EXPECT_EQ(described({{"lora", 0}}).at("expert_lr"), 1e-3);
}

TEST_F(Seq2SeqRecipe, AZooHasNoHeadsAndIsSound) {
  const Zoo zoo = make_zoo();
  EXPECT_TRUE(zoo.replicates.front().heads.empty());
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  EXPECT_EQ(zoo.replicates.front().scores.count("first/first/test/exact_match"), 1U);
}

TEST_F(Seq2SeqRecipe, RefusesOtherKindsOfTask) {
  write_word_pack(world_ / "words.h5");
  const Recipe& recipe = recipe_of(plan_);
  const TaskPack pack(world_ / "words.h5");
  EXPECT_THAT([&] { recipe.check_pack(recipe.scale("small"), plan_.overrides, pack, {"colours"}); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("of the kind classify")));
}

TEST_F(Seq2SeqRecipe, RefusesAPoolWithLongerRowsOrOtherTokens) {
  const Recipe& recipe = recipe_of(plan_);
  const TaskPack pack(plan_.pack);
  const PretrainingPool pool(plan_.pool);
  plan_.overrides["positions"] = 4;
  EXPECT_THAT([&] { recipe.check_pool(recipe.scale("small"), plan_.overrides, pool, pack); },
              testing::ThrowsMessage<ConfigError>(HasSubstr("set positions=")));
  plan_.overrides["positions"] = 16;
  StoredGroup other = question_pool();
  other.groups["tokens"] = question_tokens();
  other.groups["tokens"].attributes["tokenizer_sha256"] = sha256_hex("{}");
  other.groups["tokens"].arrays["tokenizer"] = stored_bytes("{}");
  other.write(world_ / "other.h5");
  EXPECT_THAT(
      [&] {
        recipe.check_pool(recipe.scale("small"), plan_.overrides, PretrainingPool(world_ / "other.h5"), pack);
      },
      testing::ThrowsMessage<ConfigError>(HasSubstr("must have one tokenizer")));
}

}  // namespace
}  // namespace fusegrid::test
