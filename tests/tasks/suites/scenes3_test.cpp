#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

// Its pack is not committed; tests/tools/scenes_pack_test.py has its tasks.
TEST(Scenes3, HasThreeMapsOfOneImage) {
  const Suite& suite = suite_registry().at("scenes3");
  EXPECT_EQ(suite.pack, "scenes.h5");
  ASSERT_EQ(suite.tasks.size(), 3U);
  EXPECT_EQ(suite.tasks[0].name, "segmentation");
  EXPECT_EQ(suite.tasks[0].classes, 7);
  for (const TaskCard& card : suite.tasks) {
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
    EXPECT_TRUE(card.owner.empty()) << card.name;
  }
}

}  // namespace
}  // namespace fusegrid
