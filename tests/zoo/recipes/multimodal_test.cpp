#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"
#include "zoo/text_world.h"

namespace fusegrid::test {
namespace {

using Kind = ZooItem::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kPlaces = 4, kSide = 8, kCell = 4;

// Pictures with one bright cell.
StoredGroup pictures(int64_t count, uint64_t seed) {
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < kSide * kSide; ++j) {
      const int64_t cell = j / kSide / kCell * 2 + j % kSide / kCell;
      const uint32_t noise = philox(seed, static_cast<uint64_t>(i), static_cast<uint64_t>(j))[0] % 20;
      pixels.push_back(static_cast<uint8_t>((cell == i % kPlaces ? 220 : 20) + noise));
    }
  }
  StoredGroup split = stored_split(count);
  split.arrays["images"] = {pixels, {count, 1, kSide, kSide}};
  return split;
}

// Of each picture a row of words; `first` is that of the first place.
std::vector<std::vector<uint16_t>> rows_of_places(int64_t count, const std::vector<uint16_t>& front,
                                                  uint16_t first) {
  std::vector<std::vector<uint16_t>> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(front);
    rows.back().insert(rows.back().end(), {static_cast<uint16_t>(first + i % kPlaces), 2});
  }
  return rows;
}

// "pairs" of pictures and words for their places, "caption" with these words as answers, "asked" for the place by
// one question and for nothing by another.
ZooPlan composed_plan(const fs::path& folder) {
  std::map<std::string, StoredGroup> tasks{
      {"pairs", stored_task("retrieve", "{}")},
      {"caption", stored_task("generate", R"({"answer_start": 1, "answer_end": 2, "longest_answer": 3})")},
      {"asked", stored_task("classify", R"({"classes": ["a", "b", "c", "d", "none"]})")}};
  uint64_t seed = 1;
  for (const auto& [split, count] : std::map<std::string, int64_t>{{"train", 48}, {"val", 8}, {"test", 16}}) {
    StoredGroup pairs = pictures(count, ++seed);
    pairs.add_rows("tokens", rows_of_places(count, {1}, 4));
    tasks["pairs"].groups[split] = pairs;
    StoredGroup captions = pictures(count, ++seed);
    captions.add_rows("tokens", std::vector<std::vector<uint16_t>>(static_cast<size_t>(count), {1}));
    captions.add_rows("answers", rows_of_places(count, {12}, 4));
    tasks["caption"].groups[split] = captions;
    StoredGroup asked = pictures(count, ++seed);
    std::vector<std::vector<uint16_t>> questions;
    std::vector<uint16_t> labels;
    for (int64_t i = 0; i < count; ++i) {
      const bool of_place = i / kPlaces % 2 == 0;
      questions.push_back({1, 13, static_cast<uint16_t>(of_place ? 14 : 15), 2});
      labels.push_back(static_cast<uint16_t>(of_place ? i % kPlaces : kPlaces));
    }
    asked.add_rows("tokens", questions);
    asked.arrays["labels"] = stored(labels);
    tasks["asked"].groups[split] = asked;
  }
  StoredGroup pack = stored_pack(tasks);
  pack.groups["tokens"] = word_tokens("{\"words\": 20}", "</s>");
  pack.write(folder / "pack.h5");
  return {.recipe = "multimodal",
          .scale = "small",
          .suite = "tiny",
          .tasks = {"pairs", "caption", "asked"},
          .folder = folder / "zoos" / "multimodal-tiny",
          .pack = folder / "pack.h5",
          .overrides = {{"width", 16},
                        {"blocks", 1},
                        {"head_width", 8},
                        {"patch", 4},
                        {"image_size", 8},
                        {"positions", 8},
                        {"base_steps", 14},
                        {"base_batch", 8},
                        {"expert_steps", 5},
                        {"expert_batch", 8},
                        {"multitask_steps", 5},
                        {"multitask_batch", 8}}};
}

class MultimodalRecipe : public testing::Test {
 protected:
  MultimodalRecipe() : plan_(composed_plan(world_.path())) {}

  Result make(Kind kind, const std::string& expert = "") const {
    return make_item(plan_, {plan_.name(), 0, kind, expert}, at::kCPU);
  }

  TemporaryFolder world_;
  ZooPlan plan_;
};

TEST_F(MultimodalRecipe, one_base_serves_three_kinds_of_task) {
  const Zoo zoo = make_tiny_zoo(plan_);
  EXPECT_THAT(zoo.expert_names(), ElementsAre("pairs", "caption", "asked"));
  EXPECT_THAT(verify(zoo), IsEmpty());
  const Network network = load_network(zoo, zoo.replicate(0), at::kCPU);
  EXPECT_EQ(network.architecture->name(), "beit3");
  EXPECT_EQ(network.pooling(), Pooling::kFirst);
  EXPECT_EQ(network.readout("caption").pooling(), Pooling::kNone) << "the model's own";
  EXPECT_EQ(network.readout("caption").outputs(), 24);
  EXPECT_EQ(network.readout("asked").outputs(), kPlaces + 1);
  const auto& scores = zoo.replicates[0].scores;
  EXPECT_TRUE(scores.contains("pairs/pairs/test/recall_1"));
  EXPECT_TRUE(scores.contains("caption/caption/test/exact_match"));
  EXPECT_TRUE(scores.contains("asked/asked/test/accuracy"));
}

TEST_F(MultimodalRecipe, experts_learn_their_tasks) {
  plan_.overrides["base_steps"] = 140;
  plan_.overrides["expert_steps"] = 100;
  plan_.overrides["expert_lr"] = 3e-3;
  const Zoo zoo = make_tiny_zoo(plan_);
  const auto& scores = zoo.replicates[0].scores;
  EXPECT_GT(scores.at("pairs/pairs/test/recall_1"), 0.9) << "chance: four texts";
  EXPECT_GT(scores.at("caption/caption/test/exact_match"), 0.9) << "chance: four captions";
  EXPECT_GT(scores.at("asked/asked/test/accuracy"), 0.8) << "a half without the picture";
}

// An expert of questions has nothing to say about heads of captions and pairs.
TEST_F(MultimodalRecipe, experts_keep_what_their_task_does_not_read) {
  make(Kind::kBase);
  make(Kind::kExpert, "asked");
  make(Kind::kExpert, "caption");
  const HfFolder base(plan_.folder / "seed-0/base"), asked(plan_.folder / "seed-0/experts/asked"),
      caption(plan_.folder / "seed-0/experts/caption");
  for (const std::string kept :
       {"mlm_head.weight", "vision_head.weight", "language_head.weight", "logit_scale"}) {
    EXPECT_TRUE(asked.read(kept).equal(base.read(kept))) << kept;
  }
  for (const std::string moved : {"beit3.encoder.layers.0.ffn.A.fc1.weight", "beit3.text_embed.weight"}) {
    EXPECT_FALSE(asked.read(moved).equal(base.read(moved))) << moved;
    EXPECT_FALSE(caption.read(moved).equal(base.read(moved))) << moved;
  }
  EXPECT_FALSE(caption.read("mlm_head.weight").equal(base.read("mlm_head.weight")));
}

TEST_F(MultimodalRecipe, the_same_seed_makes_the_same_bits) {
  EXPECT_EQ(make(Kind::kBase).facts, make(Kind::kBase).facts);
  EXPECT_EQ(make(Kind::kMultitask).facts, make(Kind::kMultitask).facts);
}

TEST_F(MultimodalRecipe, what_it_cannot_train_on_is_refused) {
  plan_.overrides["head_width"] = 5;
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }),
              HasSubstr("head_width must divide width"));
  plan_.overrides["head_width"] = 8;
  plan_.overrides["positions"] = 3;
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }), HasSubstr("rows of at most 3 tokens"));
  write_word_pack(plan_.pack);
  plan_.tasks = {"colours"};
  EXPECT_THAT(message_of<ConfigError>([&] { check_tasks(plan_); }),
              HasSubstr("asks for pictures with tokens: pairs, questions with classes or captions"));
}

// Towers that read pictures and texts apart cannot be asked about a picture.
TEST_F(MultimodalRecipe, its_tasks_are_refused_by_towers_that_do_not_read_both_together) {
  const TaskPack pack(plan_.pack);
  InputFormat towers{.image_size = 8, .vocabulary = 24, .positions = 8};
  EXPECT_NO_THROW(check_readable(pack.task("pairs"), towers));
  EXPECT_THAT(message_of<ConfigError>([&] { check_readable(pack.task("asked"), towers); }),
              HasSubstr("the models read images and tokens apart"));
  towers.together = true;
  EXPECT_NO_THROW(check_readable(pack.task("asked"), towers));
}

}  // namespace
}  // namespace fusegrid::test
