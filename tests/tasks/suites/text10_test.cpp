#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(Text10, IsText8AndTwoHarderTasks) {
  const Suite& suite = suite_registry().at("text10");
  const Suite& small = suite_registry().at("text8");
  EXPECT_EQ(suite.pack, "text_medium.h5");
  ASSERT_EQ(suite.tasks.size(), 10U);
  for (size_t i = 0; i < small.tasks.size(); ++i) {
    EXPECT_EQ(suite.tasks[i].name, small.tasks[i].name);
  }
  EXPECT_EQ(suite.tasks[8].name, "verb14");
  EXPECT_EQ(suite.tasks[9].name, "rel3");
}

}  // namespace
}  // namespace fusegrid
