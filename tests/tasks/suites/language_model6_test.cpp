#include <set>

#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

// Its pack is not committed; tests/tools/language_model_pack_test.py has its tasks.
TEST(LanguageModel6, HasSixDomainsOfOpenTexts) {
  const Suite& suite = suite_registry().at("language_model6");
  EXPECT_EQ(suite.pack, "language_model.h5");
  std::set<std::string> names;
  for (const TaskCard& card : suite.tasks) {
    names.insert(card.name);
    EXPECT_EQ(card.classes, 0) << card.name;
    EXPECT_EQ(card.modality, "language model");
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
  }
  EXPECT_EQ(names, (std::set<std::string>{"emoji", "example", "name", "noun", "phones", "verb"}));
}

}  // namespace
}  // namespace fusegrid
