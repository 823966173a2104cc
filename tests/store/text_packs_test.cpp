// What the committed packs of texts hold, read from Python independently.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/task_pack.h"
#include "support.h"
#include "support/source_folder.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;

// The first example of a split.
struct First {
  std::string task, split, text;
  int64_t examples = 0, label = 0, group = 0;
};

void expect_first(const TaskPack& pack, const First& expected) {
  SCOPED_TRACE(expected.task + "/" + expected.split);
  EXPECT_EQ(pack.task(expected.task).examples.at(expected.split), expected.examples);
  const Split first = pack.read(expected.task, expected.split, 0, 1);
  EXPECT_EQ(pack.tokens()->text(first.tokens.row(0)), expected.text);
  EXPECT_EQ(first.labels.item<int64_t>(), expected.label);
  EXPECT_EQ(first.groups.item<int64_t>(), expected.group);
}

std::vector<std::string> names_in(const TaskPack& pack) {
  std::vector<std::string> names;
  for (const TaskInfo& task : pack.tasks()) {
    EXPECT_EQ(task.kind, "classify");
    names.push_back(task.name);
  }
  return names;
}

// All splits are read whole, and so checked.
int64_t num_tokens(const TaskPack& pack) {
  int64_t count = 0;
  for (const TaskInfo& task : pack.tasks()) {
    for (const auto& [split, examples] : task.examples) {
      const Split read = pack.read(task.name, split);
      EXPECT_EQ(read.tokens.size(), examples);
      EXPECT_EQ(read.labels.size(0), examples);
      count += read.tokens.ids.size(0);
    }
  }
  return count;
}

TEST(TextPacks, SmallHasEightTasks) {
  const TaskPack pack(source_folder() / "data/text.h5");
  EXPECT_EQ(pack.suite(), "text8");
  EXPECT_THAT(names_in(pack), ElementsAre("artifact13", "country20", "emoji9", "lang16", "noun24", "pos4",
                                          "stress3", "vowel15"));
  EXPECT_EQ(pack.task("noun24").longest_row, 40);
  EXPECT_EQ(pack.task("noun24").image_height, 0);
  EXPECT_EQ(pack.task("noun24").class_names.size(), 24U);
  EXPECT_EQ(pack.task("noun24").class_names[2], "artifact");
  expect_first(pack, {"noun24", "train", "United States historian (1885-1981)", 4000, 13, 2040});
  expect_first(pack, {"noun24", "test", "a mixture of cellulose fibers", 1000, 22, 3050});
  expect_first(pack, {"lang16", "train", "\u010deroke\u0161\u010dina", 4000, 15, 1977});
  expect_first(pack, {"country20", "val", "Catalonia", 224, 18, 258});
  expect_first(pack, {"vowel15", "val", "s n o o p y", 500, 14, 3864});
  EXPECT_EQ(num_tokens(pack), 457960);
}

TEST(TextPacks, TextToTextHasEightTasksInTheSameTokens) {
  struct Asked {
    std::string task, split, text, answer;
    int64_t examples = 0, group = 0;
  };
  const TaskPack pack(source_folder() / "data/seq2seq.h5");
  EXPECT_EQ(pack.suite(), "seq2seq8");
  const TokenTable& table = *pack.tokens();
  EXPECT_EQ(table.tokenizer_sha256, TaskPack(source_folder() / "data/text.h5").tokens()->tokenizer_sha256);
  for (const Asked& expected :
       {Asked{"g2p", "train", "g2p: r i m e r", "r ay m er", 6000, 4616},
        {"lemma", "val", "lemma: p r o n e p h r a", "p r o n e p h r o s", 300, 1657},
        {"nominal", "test", "nominal: a g r o n o m i c a l", "a g r o n o m y", 600, 70},
        {"country", "test", "country: Ciudad Real", "Spain", 386, 291},
        {"emoji", "train", "emoji: beer mug: bar, beer, drink, mug", "Food & Drink", 1095, 326},
        {"language", "val", "language: \u017eena dribluj\u00edc\u00ed s m\u00ed\u010dem", "Czech", 300,
         666}}) {
    SCOPED_TRACE(expected.task + "/" + expected.split);
    EXPECT_EQ(pack.task(expected.task).examples.at(expected.split), expected.examples);
    const Split first = pack.read(expected.task, expected.split, 0, 1);
    EXPECT_EQ(table.text(first.tokens.row(0)), expected.text);
    EXPECT_EQ(table.text(first.answers.row(0)), expected.answer);
    EXPECT_EQ(first.groups.item<int64_t>(), expected.group);
  }

  int64_t asked = 0;
  int64_t answered = 0;
  for (const TaskInfo& task : pack.tasks()) {
    EXPECT_EQ(task.kind, "generate");
    EXPECT_EQ(task.attributes.at("answer_start"), table.pad);
    EXPECT_EQ(table.entries[task.attributes.at("answer_end").get<size_t>()], "</s>");
    EXPECT_LE(task.longest_row, 40);
    EXPECT_LE(task.attributes.at("longest_answer").get<int64_t>(), 20);
    for (const auto& [split, examples] : task.examples) {
      const Split read = pack.read(task.name, split);  // whole, and so checked
      asked += read.tokens.ids.size(0);
      answered += read.answers.ids.size(0);
    }
  }
  EXPECT_EQ(asked, 545970);
  EXPECT_EQ(answered, 192614);
}

TEST(TextPacks, GridHasThreeTasksInSevenLanguages) {
  const TaskPack pack(source_folder() / "data/text_grid.h5");
  EXPECT_EQ(pack.suite(), "text_grid");
  EXPECT_EQ(names_in(pack).size(), 21U);
  expect_first(pack, {"emoji_de", "test", "S-Bahn: Zug", 296, 4, 1018});
  expect_first(pack, {"type_cs", "train", "korsi\u010dtina", 2000, 0, 1281});
  expect_first(pack, {"type_en", "val", "Nova Gorica", 247, 4, 2179});
  expect_first(pack, {"continent_sv", "train", "Eski\u015fehir", 2000, 2, 593});
  EXPECT_THAT(pack.task("continent_sv").class_names, ElementsAre("Africa", "Americas", "Asia", "Europe"));
  EXPECT_EQ(pack.task("type_cs").attributes.at("task"), "type");
  EXPECT_EQ(pack.task("type_cs").attributes.at("domain"), "cs");
  EXPECT_EQ(num_tokens(pack), 551668);
  EXPECT_EQ(pack.tokens()->tokenizer_sha256,
            TaskPack(source_folder() / "data/text.h5").tokens()->tokenizer_sha256);
}

TEST(TextPacks, HaveTheTableOfTheirTokenizer) {
  const TaskPack pack(source_folder() / "data/text.h5");
  const TokenTable& table = *pack.tokens();
  EXPECT_EQ(table.tokenizer_sha256, "b33c26229ec06798010797f98f66a4805430bd6399cbff59216ddef5ec4312a8");
  EXPECT_EQ(table.size(), 4096);
  EXPECT_EQ(table.pad, 0);
  EXPECT_EQ(table.mask, 3);
  EXPECT_EQ(table.special.size(), 21U);
  EXPECT_EQ(table.entries[1], "<cls>");
  EXPECT_EQ(table.entries[5], "<extra_id_0>");
}

}  // namespace
}  // namespace fusegrid::test
