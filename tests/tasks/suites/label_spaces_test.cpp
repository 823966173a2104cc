#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

TEST(LabelSpaces, HaveDifferentNumbersOfLabels) {
  std::vector<std::pair<std::string, int64_t>> labels;
  for (const TaskCard& card : suite_registry().at("label_spaces").tasks) {
    labels.emplace_back(card.name, card.classes);
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
  }
  EXPECT_THAT(labels, testing::ElementsAre(std::pair("guard2", 2), std::pair("artifact13", 13),
                                           std::pair("pos4", 4), std::pair("noun24", 24)));
}

}  // namespace
}  // namespace fusegrid
