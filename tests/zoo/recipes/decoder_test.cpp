#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/digest.h"
#include "zoo/folders.h"
#include "zoo/next_token.h"
#include "zoo/recipe.h"
#include "zoo/token_recipe.h"

namespace fusegrid::test {
namespace {

using Kind = ZooItem::Kind;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;

ZooPlan decoder_plan(const fs::path& folder) {
  ZooPlan plan = word_plan(folder);
  plan.recipe = "decoder";
  plan.folder = folder / "zoos" / "decoder-tiny";
  plan.overrides.erase("base_pairs");
  return plan;
}

class DecoderRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(decoder_plan); }
  static void TearDownTestSuite() { delete made_; }
  DecoderRecipe() : TokenRecipe(decoder_plan, *made_) {}

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(DecoderRecipe, ABaseIsADecoderWithItsTokenizerAndMakesNoTokens) {
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "gpt2");
  EXPECT_EQ(folder.config().at("vocab_size"), 24);
  EXPECT_EQ(folder.config().at("n_embd"), 8);
  EXPECT_EQ(folder.config().at("n_head"), 2);
  const auto architecture = make_architecture(folder.config());
  EXPECT_FALSE(architecture->own_head());
  EXPECT_TRUE(architecture->blocks()->causal());
  EXPECT_EQ(digest(model("base")), made_->result.facts.at("weights_sha256"));
  EXPECT_EQ(tokenizer_digest(folder.path()), sha256_hex("{\"words\": 20}"));
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/heads.safetensors"));
}

TEST_F(DecoderRecipe, PretrainingTwiceGivesTheSameBits) {
  EXPECT_EQ(make(Kind::kBase).facts, made_->result.facts);
  EXPECT_NE(make(Kind::kBase, "", 1).facts, made_->result.facts);
}

TEST_F(DecoderRecipe, FirstValuesFollowTheRoleOfATensor) {
  plan_.overrides["base_lr"] = 0;
  plan_.overrides["width"] = 64;
  plan_.overrides["head_width"] = 32;
  make(Kind::kBase);
  const Weights first = model("base");
  const auto deviation = [&](const std::string& name) { return first.at(name).std().item<double>(); };
  EXPECT_NEAR(deviation("wte.weight"), 0.02, 0.002);
  EXPECT_NEAR(deviation("wpe.weight"), 0.02, 0.002);
  EXPECT_NEAR(deviation("h.0.attn.c_attn.weight"), 1 / 8.0, 0.004) << "64 inputs";
  EXPECT_NEAR(deviation("h.1.mlp.c_fc.weight"), 1 / 8.0, 0.004);
  EXPECT_NEAR(deviation("h.0.attn.c_proj.weight"), 1 / 8.0 / 2, 0.002) << "two blocks add up four outputs";
  EXPECT_NEAR(deviation("h.1.mlp.c_proj.weight"), 1 / 16.0 / 2, 0.001) << "256 inputs";
  EXPECT_EQ(first.at("h.0.mlp.c_fc.bias").abs().max().item<double>(), 0);
  EXPECT_TRUE((first.at("ln_f.weight") == 1).all().item<bool>());
}

// As the kind of language models counts: the perplexity of the same texts, under the same weights.
TEST_F(DecoderRecipe, TheLossOfPretrainingIsTheMeanOverAllTokensButTheFirstOfEachText) {
  plan_.overrides["base_lr"] = 0;
  plan_.overrides["base_steps"] = 1;
  plan_.overrides["base_texts"] = 30;
  const Result base = make(Kind::kBase);

  nlohmann::json config = HfFolder(plan_.folder / "seed-0/base").config();
  config["architectures"] = {"GPT2LMHeadModel"};
  Network network;
  network.architecture = make_architecture(config);
  const Architecture& architecture = *network.architecture;
  network.readouts["texts"] =
      own_readout(*architecture.own_head(), architecture.feature_size(), architecture.input().vocabulary);
  const PretrainingPool pool(plan_.pool);
  TaskInfo task;
  task.kind = "language_model";
  task.longest_row = 11;
  const Answers answers = evaluate(network, model("base"), "texts", *kind_of(task, pool.tokens()),
                                   {NextTokenBatches(pool, 30, 0).at(0)});
  EXPECT_NEAR(value(base, "token_loss", "train"), std::log(answers.metrics.at("perplexity")), 1e-5);
}

TEST_F(DecoderRecipe, TheLossOfPretrainingFalls) {
  plan_.overrides["base_steps"] = 1;
  const double first = value(make(Kind::kBase), "token_loss", "train");
  plan_.overrides["base_steps"] = 300;
  plan_.overrides["base_lr"] = 0.01;
  EXPECT_NEAR(first, std::log(24), 0.2) << "any of 24 tokens";
  EXPECT_LT(value(make(Kind::kBase), "token_loss", "train"), first - 0.5);
}

TEST_F(DecoderRecipe, AnExpertTrainsEverythingAndAHeadOfItsOwn) {
  const Result expert = make(Kind::kExpert, "colours");
  std::set<std::string> all;
  for (const auto& [name, tensor] : model("base")) {
    all.insert(name);
  }
  EXPECT_EQ(changed("experts/colours"), all);
  EXPECT_EQ(head("experts/colours/head.safetensors", "colours.weight").sizes().vec(),
            (std::vector<int64_t>{3, 8}));
  EXPECT_EQ(make(Kind::kExpert, "colours").facts, expert.facts) << "the same bits";
}

TEST_F(DecoderRecipe, ExpertsLearnWhatTheyAreShown) {
  plan_.overrides["expert_lr"] = 0.01;
  plan_.overrides["expert_steps"] = 200;
  EXPECT_GT(value(make(Kind::kExpert, "shapes"), "accuracy"), 0.9);
}

TEST_F(DecoderRecipe, AZooReadsTheLastTokenAndIsSound) {
  for (const std::string head : {"joint", "probe"}) {
    plan_.overrides["head"] = head;
    const Zoo zoo = make_zoo();
    EXPECT_EQ(zoo.recipe, "decoder");
    EXPECT_EQ(zoo.pooling, Pooling::kLast);
    EXPECT_THAT(verify(zoo), IsEmpty());
    EXPECT_THAT(zoo.replicate(0).scores, Contains(Key("colours/colours/test/accuracy")));
    fs::remove_all(plan_.folder / "seed-0/experts");
    fs::remove_all(plan_.folder / "seed-0/multitask");
  }
}

TEST_F(DecoderRecipe, APoolNeedsTextsAndNothingElse) {
  StoredGroup pool = word_pool();
  pool.groups["sources"].groups.erase("meanings");
  pool.groups["sources"].groups.erase("twice");
  pool.write(plan_.pool);
  EXPECT_EQ(refusal_of([&] { check_pool(plan_); }), "");
  plan_.overrides["positions"] = 10;
  EXPECT_THAT(
      refusal_of([&] { check_pool(plan_); }),
      AllOf(HasSubstr("rows of at most 10 tokens, but source 'corpus'"), HasSubstr("set positions=11")));
  pool = word_pool();
  pool.groups["sources"].groups.erase("corpus");
  pool.write(plan_.pool);
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }),
              HasSubstr("causal models must have sources of the kind text, but it has none"));
}

TEST_F(DecoderRecipe, TasksOfLongerRowsThanABaseWouldReadAreRefused) {
  plan_.overrides["positions"] = 10;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("at most 10 tokens, but the inputs of task 'colours' are up to 11"));
}

TEST_F(DecoderRecipe, TasksWhoseAnswersNoHeadGivesAreRefused) {
  StoredGroup task = stored_task("language_model", "{}");
  for (const std::string split : {"train", "val", "test"}) {
    task.groups[split] = stored_split(6);
    task.groups[split].add_rows("tokens", word_rows(6, derive_key(3, split)));
  }
  StoredGroup pack = stored_pack({{"words", task}});
  pack.groups["tokens"] = word_tokens();
  pack.write(plan_.pack);
  plan_.tasks = {"words"};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              AllOf(HasSubstr("the recipe decoder trains heads, but task 'words'"),
                    HasSubstr("of the kind language_model, whose answers are tokens")));
  write_tiny_pack(plan_.pack);
  plan_.tasks = {"bars"};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("the recipe decoder trains on tokens, but task 'bars'"));
}

}  // namespace
}  // namespace fusegrid::test
