#include <cmath>
#include <set>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/digest.h"
#include "core/errors.h"
#include "zoo/bindings.h"
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

// A world with a base, of which every test has a copy.
class TextRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(word_plan); }
  static void TearDownTestSuite() { delete made_; }
  TextRecipe() : TokenRecipe(word_plan, *made_) {}

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(TextRecipe, ABaseIsAnEncoderWithItsTokenizer) {
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "bert");
  EXPECT_EQ(folder.config().at("vocab_size"), 24);
  EXPECT_EQ(folder.config().at("hidden_size"), 8);
  EXPECT_EQ(folder.digest(), made_->result.facts.at("weights_sha256"))
      << "what pretraining alone needs is not kept";
  EXPECT_EQ(tokenizer_digest(folder.path()), sha256_hex("{\"words\": 20}"));
  EXPECT_EQ(read_provenance(folder.path()).at("sources").at("tokenizer_sha256"),
            tokenizer_digest(folder.path()));
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/heads.safetensors"));
  EXPECT_GT(value(made_->result, "hidden_token_loss", "train"), 0);
  EXPECT_NEAR(value(made_->result, "pair_scale", "train"), 15, 1);
}

TEST_F(TextRecipe, PretrainingTwiceGivesTheSameBits) {
  EXPECT_EQ(make(Kind::kBase).facts, made_->result.facts);
  EXPECT_NE(make(Kind::kBase, "", 1).facts, made_->result.facts);
}

TEST_F(TextRecipe, BothLossesOfPretrainingFall) {
  plan_.overrides["base_steps"] = 1;
  const Result first = make(Kind::kBase);
  plan_.overrides["base_steps"] = 400;
  plan_.overrides["base_lr"] = 0.01;
  const Result last = make(Kind::kBase);
  EXPECT_NEAR(value(first, "hidden_token_loss", "train"), std::log(24), 0.5) << "any of 24 tokens";
  EXPECT_LT(value(last, "hidden_token_loss", "train"), value(first, "hidden_token_loss", "train") - 0.3);
  EXPECT_LT(value(last, "pair_loss", "train"), 0.7 * value(first, "pair_loss", "train"));
}

TEST_F(TextRecipe, AnExpertTrainsEverythingAndAHeadOfItsOwn) {
  const Result expert = make(Kind::kExpert, "colours");
  std::set<std::string> all;
  for (const auto& [name, tensor] : model("base")) {
    all.insert(name);
  }
  EXPECT_EQ(changed("experts/colours"), all);
  EXPECT_EQ(head("experts/colours/head.safetensors", "colours.weight").sizes().vec(),
            (std::vector<int64_t>{3, 8}));
  EXPECT_EQ(head("experts/colours/head.safetensors", "colours.bias").sizes().vec(),
            (std::vector<int64_t>{3}));
  EXPECT_TRUE(fs::exists(plan_.folder / "seed-0/experts/colours/tokenizer.json"));
  EXPECT_EQ(HfFolder(plan_.folder / "seed-0/experts/colours").config(),
            HfFolder(plan_.folder / "seed-0/base").config());

  const std::string heads = sha256_of_file(plan_.folder / "seed-0/experts/colours/head.safetensors");
  EXPECT_EQ(make(Kind::kExpert, "colours").facts, expert.facts) << "the same bits";
  EXPECT_EQ(sha256_of_file(plan_.folder / "seed-0/experts/colours/head.safetensors"), heads);
}

// The first step of Adam moves every number that has a gradient by the learning rate.
TEST_F(TextRecipe, AHeadLearnsFasterThanTheTrunk) {
  plan_.overrides["expert_steps"] = 1;
  plan_.overrides["expert_lr"] = 0.001;
  make(Kind::kExpert, "colours");
  EXPECT_NEAR(head("experts/colours/head.safetensors", "colours.bias").abs().max().item<double>(), 0.005,
              1e-5);
  const at::Tensor moved = model("experts/colours").at("encoder.layer.0.intermediate.dense.weight") -
                           model("base").at("encoder.layer.0.intermediate.dense.weight");
  EXPECT_NEAR(moved.abs().max().item<double>(), 0.001, 1e-5);
}

TEST_F(TextRecipe, ExpertsLearnWhatTheyAreShown) {
  plan_.overrides["expert_lr"] = 0.01;
  plan_.overrides["expert_steps"] = 200;
  plan_.overrides["multitask_steps"] = 200;
  EXPECT_GT(value(make(Kind::kExpert, "shapes"), "accuracy"), 0.9);
  const Result multitask = make(Kind::kMultitask);
  EXPECT_GT(value(multitask, "accuracy/colours"), 0.9);
  EXPECT_GT(value(multitask, "accuracy"), 0.9);
}

TEST_F(TextRecipe, AProbeIsFrozenAndTheMatricesOfLayersAloneAreTrained) {
  plan_.overrides["head"] = "probe";
  make(Kind::kExpert, "colours");
  make(Kind::kExpert, "shapes");
  make(Kind::kMultitask);
  std::set<std::string> matrices;
  for (const Layer& layer : make_architecture(HfFolder(plan_.folder / "seed-0/base").config())->layers()) {
    matrices.insert(layer.weight);
  }
  EXPECT_EQ(changed("experts/colours"), matrices);
  EXPECT_EQ(changed("multitask"), matrices);
  const at::Tensor probe = head("experts/colours/head.safetensors", "colours.weight");
  EXPECT_TRUE(head("multitask/heads.safetensors", "colours.weight").equal(probe))
      << "fitted on the base alone";
  EXPECT_FALSE(head("multitask/heads.safetensors", "shapes.weight").equal(probe));
}

// By the base's features: with a head that was fitted on them it classifies, with one of an expert hardly.
TEST_F(TextRecipe, AProbeFitsTheBase) {
  plan_.overrides["head"] = "probe";
  plan_.overrides["expert_lr"] = 0;
  EXPECT_GT(value(make(Kind::kExpert, "colours"), "accuracy"), 0.45) << "a third by guessing";
  EXPECT_THAT(changed("experts/colours"), IsEmpty());
}

TEST_F(TextRecipe, AZooHasTheHeadsOfItsExpertsAndIsSound) {
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.recipe, "text");
  EXPECT_EQ(zoo.pooling, Pooling::kMean);
  EXPECT_EQ(zoo.tokenizer_sha256, sha256_hex("{\"words\": 20}"));
  EXPECT_THAT(verify(zoo), IsEmpty());
  for (const std::string task : {"colours", "shapes"}) {
    for (const std::string part : {".weight", ".bias"}) {
      EXPECT_TRUE(head("heads.safetensors", task + part)
                      .equal(head("experts/" + task + "/head.safetensors", task + part)));
      EXPECT_FALSE(
          head("multitask/heads.safetensors", task + part).equal(head("heads.safetensors", task + part)))
          << "the multi-task model has heads of its own";
    }
    for (const std::string split : {"val", "test"}) {
      for (const std::string metric : {"accuracy", "macro_f1", "mcc", "loss"}) {
        EXPECT_THAT(zoo.replicate(0).scores, Contains(Key(task + "/" + task + "/" + split + "/" + metric)));
      }
    }
  }
  const auto bindings = replicate_bindings(zoo, zoo.replicate(0));
  EXPECT_THAT(bindings, Contains(Key("text-tiny/0/multitask_heads/shapes")));
  EXPECT_NE(bindings.at("text-tiny/0/multitask_heads/shapes"), bindings.at("text-tiny/0/heads/shapes"));
}

TEST_F(TextRecipe, AZooCanDoWithoutTheMultitaskModelAndGetItLater) {
  plan_.multitask = false;
  const Zoo without = make_zoo();
  EXPECT_FALSE(without.replicate(0).multitask);
  EXPECT_THAT(verify(without), IsEmpty());

  plan_.multitask = true;
  const Result multitask = make(Kind::kMultitask);
  plan_.multitask = false;
  EXPECT_TRUE(make_zoo({multitask}).replicate(0).multitask) << "what is there is not forgotten";
}

TEST_F(TextRecipe, ModelsOfAnotherHeadAreNotMixed) {
  make_zoo();
  plan_.overrides["head"] = "probe";
  EXPECT_THAT(refusal_of([&] { check_existing_models(plan_, {0}, {}, {}); }),
              HasSubstr("head is \"joint\", not \"probe\" as this command asks for"));
}

TEST_F(TextRecipe, APackOfAnotherTokenizerIsRefused) {
  write_word_pack(plan_.pack, word_tokens("{\"another\": 1}"));
  EXPECT_THAT(refusal_of([&] { check_base(plan_, 0); }),
              AllOf(HasSubstr("was made with another tokenizer (SHA-256 " + sha256_hex("{\"another\": 1}")),
                    HasSubstr(sha256_hex("{\"words\": 20}"))));
  EXPECT_THAT(refusal_of([&] { make(Kind::kExpert, "colours"); }), HasSubstr("another tokenizer"));
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }), HasSubstr("pool and pack must have one tokenizer"));
}

TEST_F(TextRecipe, APackWithMoreTokensThanTheBaseOrLongerRowsIsRefused) {
  fs::remove(plan_.folder / "seed-0/base/tokenizer.json");
  nlohmann::json config = HfFolder(plan_.folder / "seed-0/base").config();
  config["vocab_size"] = 23;
  write_text(plan_.folder / "seed-0/base/config.json", config.dump());
  EXPECT_THAT(refusal_of([&] { check_base(plan_, 0); }),
              HasSubstr("has 24 token ids, but the models have 23"));
  config["vocab_size"] = 24;
  config["max_position_embeddings"] = 10;
  write_text(plan_.folder / "seed-0/base/config.json", config.dump());
  EXPECT_THAT(refusal_of([&] { check_base(plan_, 0); }), HasSubstr("rows of at most 10 tokens"));
}

TEST_F(TextRecipe, APoolWithoutTextsIsRefused) {
  StoredGroup pool = word_pool();
  pool.groups["sources"].groups.erase("corpus");
  pool.write(plan_.pool);
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }), HasSubstr("it has none of the kind text"));
  word_pool().write(plan_.pool);
  plan_.overrides["positions"] = 10;
  EXPECT_THAT(
      refusal_of([&] { check_pool(plan_); }),
      AllOf(HasSubstr("rows of at most 10 tokens, but source 'corpus'"), HasSubstr("set positions=11")));
  fs::remove(plan_.pool);
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }), HasSubstr("make it with tools/make_text_pool.py"));
}

// As the pool of text to text has them, with the same tokenizer and sources of the same kinds.
TEST_F(TextRecipe, APoolWhoseTextsBeginOtherwiseIsRefused) {
  StoredGroup pool = word_pool();
  pool.groups["sources"].groups["corpus"].add_rows("tokens", word_rows(40, 7, 9));
  pool.write(plan_.pool);
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }),
              AllOf(HasSubstr("do, with <cls>, but they begin with text; make the pool with"),
                    HasSubstr("tools/make_text_pool.py")));
}

TEST_F(TextRecipe, RowsOfTasksThatAreTooLongAreRefusedBeforeABaseIsTrained) {
  plan_.overrides["positions"] = 10;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("at most 10 tokens, but the inputs of task 'colours' are up to 11"));
}

TEST_F(TextRecipe, TasksOfImagesAreRefused) {
  write_tiny_pack(plan_.pack);
  plan_.tasks = {"bars"};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              AllOf(HasSubstr("trains on tokens, but task 'bars'"), HasSubstr("has images")));
}

// One task whose values are whether a row is long.
TEST_F(TextRecipe, TasksOfOtherKindsGetHeadsOfTheirKind) {
  StoredGroup task = stored_task("regress", "{}");
  for (const std::string split : {"train", "val", "test"}) {
    const auto rows = word_rows(60, derive_key(3, split));
    std::vector<float> values;
    for (const auto& row : rows) {
      values.push_back(row.size() > 7 ? 1 : 0);
    }
    task.groups[split] = stored_split(60);
    task.groups[split].add_rows("tokens", rows);
    task.groups[split].arrays["values"] = stored(values);
  }
  StoredGroup pack = stored_pack({{"length", task}});
  pack.groups["tokens"] = word_tokens();
  pack.write(plan_.pack);
  plan_.tasks = {"length"};
  plan_.overrides["expert_lr"] = 0.01;
  plan_.overrides["expert_steps"] = 200;
  EXPECT_GT(value(make(Kind::kExpert, "length"), "pearson"), 0.7);
  EXPECT_EQ(head("experts/length/head.safetensors", "length.weight").sizes().vec(),
            (std::vector<int64_t>{1, 8}));
  plan_.overrides["head"] = "probe";
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("probes are heads of classes"));
}

TEST_F(TextRecipe, APublishedBaseIsTakenOver) {
  const fs::path published = world_ / "published";
  fs::rename(plan_.folder / "seed-0/base", published);
  plan_.scale = "minilm";
  plan_.overrides = {{"expert_steps", 2}, {"multitask_steps", 2}};
  EXPECT_THAT(refusal_of([&] { place_bases(plan_, {0}); }), HasSubstr("name its folder with --base"));
  plan_.published_base = published;
  EXPECT_THAT(place_bases(plan_, {0}), IsEmpty());
  EXPECT_THAT(place_bases(plan_, {0}), IsEmpty()) << "it is there";
  EXPECT_TRUE(fs::exists(plan_.folder / "seed-0/base/tokenizer.json"));
  EXPECT_EQ(make_zoo().replicate(0).digests.at("base"), made_->result.facts.at("weights_sha256"));
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }), HasSubstr("are published, not trained"));

  plan_.published_base = plan_.folder / "seed-0/experts/shapes";
  EXPECT_THAT(refusal_of([&] { place_bases(plan_, {0}); }), HasSubstr("is not the one in"));
  plan_.scale = "small";
  EXPECT_THAT(refusal_of([&] { place_bases(plan_, {0}); }), HasSubstr("leave --base out"));
}

}  // namespace
}  // namespace fusegrid::test
