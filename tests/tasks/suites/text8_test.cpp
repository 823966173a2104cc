#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(Text8, HasEightTasksOfAllSorts) {
  const Suite& suite = suite_registry().at("text8");
  EXPECT_EQ(suite.pack, "text.h5");
  ASSERT_EQ(suite.tasks.size(), 8U);
  for (const TaskCard& card : suite.tasks) {
    EXPECT_TRUE(card.name.ends_with(std::to_string(card.classes))) << card.name;
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
    EXPECT_EQ(card.modality, "text classification");
  }
}

}  // namespace
}  // namespace fusegrid
