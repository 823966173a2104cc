#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zoo/folders.h"
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

// A domain uses five words, one after the other: rows of 3 to 8 tokens whose next token is nearly certain.
std::vector<std::vector<uint16_t>> domain_rows(int64_t count, uint16_t first_word) {
  std::vector<std::vector<uint16_t>> rows;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<uint16_t> row{1};
    for (int64_t word = 0; word <= i % 6; ++word) {
      row.push_back(static_cast<uint16_t>(first_word + (i + word) % 5));
    }
    row.push_back(2);
    rows.push_back(row);
  }
  return rows;
}

// Which word comes next: the one that does, or one of the other domain.
StoredGroup next_words(uint16_t first_word, uint16_t first_other) {
  StoredGroup split = stored_split(10);
  std::vector<std::vector<uint16_t>> prompts, choices;
  std::vector<uint32_t> rows{0};
  for (uint16_t i = 0; i < 10; ++i) {
    prompts.push_back({1, static_cast<uint16_t>(first_word + i % 5)});
    choices.push_back({static_cast<uint16_t>(first_word + (i + 1) % 5)});
    choices.push_back({static_cast<uint16_t>(first_other + i % 5)});
    rows.push_back(static_cast<uint32_t>(choices.size()));
  }
  split.add_rows("tokens", prompts);
  split.add_rows("choices", choices);
  split.arrays["choices_rows"] = stored(rows);
  split.arrays["labels"] = stored(std::vector<uint16_t>(10, 0));
  return split;
}

// Domains "low" and "high" of different words, and of the first a question.
void write_domains(const fs::path& path) {
  std::map<std::string, StoredGroup> tasks;
  for (const std::string name : {"low", "high"}) {
    StoredGroup& task = tasks[name] = stored_task("language_model", "{}");
    for (const std::string split : {"train", "val", "test"}) {
      task.groups[split] = stored_split(30);
      task.groups[split].add_rows("tokens", domain_rows(30, name == "low" ? 4 : 14));
    }
  }
  StoredGroup& asked = tasks["low_next"] = stored_task("multiple_choice", "{}");
  for (const std::string split : {"train", "val", "test"}) {
    asked.groups[split] = next_words(4, 14);
  }
  StoredGroup pack = stored_pack(tasks);
  pack.groups["tokens"] = word_tokens();
  pack.write(path);
}

ZooPlan domain_plan(const fs::path& folder) {
  ZooPlan plan = word_plan(folder);
  write_domains(plan.pack);
  plan.recipe = "language_model";
  plan.tasks = {"low", "high"};
  plan.more_tasks = {{"low_next", "low"}};
  plan.folder = folder / "zoos" / "language-tiny";
  plan.overrides.erase("base_pairs");
  plan.overrides["width"] = 16;
  return plan;
}

class LanguageModelRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(domain_plan); }
  static void TearDownTestSuite() { delete made_; }
  LanguageModelRecipe() : TokenRecipe(domain_plan, *made_) {}

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(LanguageModelRecipe, ABaseMakesTokensWithATiedHeadAndGroupedHeads) {
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "llama");
  EXPECT_EQ(folder.config().at("num_attention_heads"), 4);
  EXPECT_EQ(folder.config().at("num_key_value_heads"), 2);
  EXPECT_EQ(make_architecture(folder.config())->own_head()->weight, "model.embed_tokens.weight");
  EXPECT_EQ(model("base").at("model.layers.1.self_attn.k_proj.weight").sizes().vec(),
            (std::vector<int64_t>{8, 16}));
  EXPECT_GT(value(made_->result, "token_loss", "train"), 0);
}

TEST_F(LanguageModelRecipe, PretrainingTwiceGivesTheSameBits) {
  EXPECT_EQ(make(Kind::kBase).facts, made_->result.facts);
  EXPECT_NE(make(Kind::kBase, "", 1).facts, made_->result.facts);
}

TEST_F(LanguageModelRecipe, FirstValuesFollowTheRoleOfATensor) {
  plan_.overrides["base_lr"] = 0;
  plan_.overrides["width"] = 64;
  plan_.overrides["head_width"] = 32;
  make(Kind::kBase);
  const Weights first = model("base");
  const auto deviation = [&](const std::string& name) { return first.at(name).std().item<double>(); };
  EXPECT_NEAR(deviation("model.embed_tokens.weight"), 0.02, 0.002);
  EXPECT_NEAR(deviation("model.layers.0.self_attn.q_proj.weight"), 1 / 8.0, 0.006) << "64 inputs";
  EXPECT_NEAR(deviation("model.layers.0.self_attn.o_proj.weight"), 1 / 8.0 / 2, 0.003) << "of two blocks";
  EXPECT_NEAR(deviation("model.layers.1.mlp.down_proj.weight"), 1 / std::sqrt(192.0) / 2, 0.002);
  EXPECT_TRUE((first.at("model.norm.weight") == 1).all().item<bool>());
}

TEST_F(LanguageModelRecipe, AnExpertTrainsEverythingAndLearnsItsDomain) {
  plan_.overrides["expert_lr"] = 0.01;
  plan_.overrides["expert_steps"] = 150;
  const Result expert = make(Kind::kExpert, "low");
  EXPECT_EQ(changed("experts/low"), names_of(model("base")));
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/experts/low/head.safetensors"));
  EXPECT_LT(value(expert, "perplexity"), 3) << "of 24 tokens";
  EXPECT_EQ(value(expert, "accuracy/low_next"), 1);
  EXPECT_EQ(make(Kind::kExpert, "low").facts, expert.facts) << "the same bits";
}

TEST_F(LanguageModelRecipe, AZooHasNoHeadsAndIsSound) {
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.recipe, "language_model");
  EXPECT_THAT(verify(zoo), IsEmpty());
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/heads.safetensors"));
  for (const std::string metric : {"perplexity", "bits_per_byte"}) {
    EXPECT_THAT(zoo.replicate(0).scores, Contains(Key("low/low/test/" + metric)));
  }
}

TEST_F(LanguageModelRecipe, AnExpertOwnsTheQuestionsOfItsDomain) {
  const Zoo zoo = make_zoo();
  EXPECT_THAT(zoo.tasks, testing::ElementsAre("low", "high", "low_next"));
  EXPECT_THAT(zoo.expert_names(), testing::ElementsAre("low", "high"));
  EXPECT_EQ(zoo.owners({"low", "high"}).at("low_next"), "low");
  EXPECT_THAT(zoo.tasks_of({"high"}), testing::ElementsAre("high"));
  for (const std::string metric : {"accuracy", "accuracy_normalised", "loss"}) {
    EXPECT_THAT(zoo.replicate(0).scores, Contains(Key("low/low_next/test/" + metric)));
    EXPECT_THAT(zoo.replicate(0).scores, testing::Not(Contains(Key("high/low_next/test/" + metric))));
  }
  const Result multitask = make(Kind::kMultitask);
  value(multitask, "perplexity/low");
  value(multitask, "perplexity");
  value(multitask, "accuracy/low_next");
}

TEST_F(LanguageModelRecipe, QuestionsThatModelsCannotReadAreRefused) {
  plan_.more_tasks = {{"low_nxt", "low"}};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("did you mean 'low_next'?"));
  StoredGroup long_ones = next_words(4, 14);
  long_ones.add_rows("choices", std::vector<std::vector<uint16_t>>(20, std::vector<uint16_t>(64, 5)));
  StoredGroup asked = stored_task("multiple_choice", "{}");
  asked.groups = {{"train", long_ones}, {"val", long_ones}, {"test", long_ones}};
  StoredGroup texts = stored_task("language_model", "{}");
  for (const std::string split : {"train", "val", "test"}) {
    texts.groups[split] = stored_split(30);
    texts.groups[split].add_rows("tokens", domain_rows(30, 4));
  }
  StoredGroup pack = stored_pack({{"low", texts}, {"high", texts}, {"low_next", asked}});
  pack.groups["tokens"] = word_tokens();
  pack.write(plan_.pack);
  plan_.more_tasks = {{"low_next", "low"}};
  EXPECT_THAT(
      refusal_of([&] { check_tasks(plan_); }),
      AllOf(HasSubstr("at most 16 tokens, answers included, but those of task 'low_next' have up to 66"),
            HasSubstr("make a task pack with shorter rows or answers")));
  plan_.overrides["positions"] = 65;
  EXPECT_EQ(refusal_of([&] { check_tasks(plan_); }), "") << "the last token is not read";
}

TEST_F(LanguageModelRecipe, OptionsThatContradictEachOtherAreRefused) {
  plan_.overrides["heads_of_a_key"] = 3;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("head_width * heads_of_a_key must divide width, but they are 4, 3 and 16"));
  plan_.overrides["heads_of_a_key"] = 1;
  plan_.overrides["width"] = 15;
  plan_.overrides["head_width"] = 5;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("head_width must be even"));
}

TEST_F(LanguageModelRecipe, OtherTasksAndLongerRowsAreRefused) {
  plan_.overrides["positions"] = 7;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("at most 7 tokens, but the inputs of task 'low' are up to 8"));
  write_word_pack(plan_.pack);
  plan_.tasks = {"colours"};
  EXPECT_THAT(
      refusal_of([&] { check_tasks(plan_); }),
      AllOf(HasSubstr("trains on texts alone, but task 'colours'"), HasSubstr("of the kind classify")));
}

}  // namespace
}  // namespace fusegrid::test
