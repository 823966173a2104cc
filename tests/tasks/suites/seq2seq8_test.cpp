#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/task_pack.h"
#include "support/source_folder.h"
#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(Seq2Seq8, HasTheTasksOfItsPack) {
  const Suite& suite = suite_registry().at("seq2seq8");
  const TaskPack pack(source_folder() / "data" / suite.pack);
  EXPECT_EQ(pack.suite(), suite.name);
  EXPECT_EQ(suite.tasks.size(), pack.tasks().size());
  ASSERT_EQ(suite.tasks.size(), 8U);
  for (const TaskCard& card : suite.tasks) {
    EXPECT_EQ(pack.task(card.name).kind, "generate") << card.name;
    EXPECT_EQ(card.modality, "text to text");
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
  }
}

TEST(Seq2Seq8, TasksWithClassesHaveThatManyAnswers) {
  const Suite& suite = suite_registry().at("seq2seq8");
  const TaskPack pack(source_folder() / "data" / suite.pack);
  for (const TaskCard& card : suite.tasks) {
    std::set<std::string> answers;
    const Split train = pack.read(card.name, "train");
    for (int64_t i = 0; i < train.answers.size(); ++i) {
      answers.insert(pack.tokens()->text(train.answers.row(i)));
    }
    if (card.classes > 0) {
      EXPECT_EQ(static_cast<int64_t>(answers.size()), card.classes) << card.name;
    } else {
      EXPECT_GT(answers.size(), 2000U) << card.name;
    }
  }
}

}  // namespace
}  // namespace fusegrid
