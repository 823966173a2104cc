#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/task_pack.h"
#include "support/source_folder.h"
#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(TextGrid, HasTheCellsOfItsPack) {
  const Suite& suite = suite_registry().at("text_grid");
  const TaskPack pack(source_folder() / "data" / suite.pack);
  EXPECT_EQ(pack.suite(), suite.name);
  EXPECT_EQ(pack.tasks().size(), 21U);
  std::set<std::string> names;
  for (const TaskCard& card : suite.tasks) {
    names.insert(card.name);
    const TaskInfo& task = pack.task(card.name);
    EXPECT_EQ(task.kind, "classify");
    EXPECT_EQ(static_cast<int64_t>(task.class_names.size()), card.classes) << card.name;
    EXPECT_EQ(
        task.attributes.at("task").get<std::string>() + "_" + task.attributes.at("domain").get<std::string>(),
        card.name);
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
  }
  EXPECT_EQ(names.size(), 21U);
}

TEST(TextGrid, FirstCellsAreOfAllRowsAndDifferentLanguages) {
  std::vector<std::string> first;
  for (const TaskCard& card : suite_registry().at("text_grid").tasks) {
    first.push_back(card.name);
  }
  ASSERT_GE(first.size(), 7U);
  first.resize(7);
  EXPECT_THAT(first, testing::ElementsAre("emoji_en", "type_de", "continent_fr", "emoji_es", "type_it",
                                          "continent_cs", "emoji_sv"));
}

}  // namespace
}  // namespace fusegrid
