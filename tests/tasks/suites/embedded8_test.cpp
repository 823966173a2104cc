#include <set>

#include <gtest/gtest.h>

#include "core/errors.h"
#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(Embedded8, HasEightTasksWithCompleteCards) {
  const Suite& suite = suite_registry().at("embedded8");

  std::set<std::string> names;
  for (const TaskCard& card : suite.tasks) {
    names.insert(card.name);
    EXPECT_GE(card.classes, 2) << card.name;
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
  }
  EXPECT_EQ(names.size(), 8U);
  EXPECT_EQ(suite.pack, "embedded.h5");
}

TEST(Embedded8, UnknownSuitesAreErrors) {
  EXPECT_THROW(suite_registry().at("embedded9"), ConfigError);
}

}  // namespace
}  // namespace fusegrid
