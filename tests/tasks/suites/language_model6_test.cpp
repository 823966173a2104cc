#include <set>

#include <gtest/gtest.h>

#include "tasks/suite.h"

namespace fusegrid {
namespace {

// Its pack is not committed; tests/tools/language_model_pack_test.py has its tasks.
TEST(LanguageModel6, HasSixDomainsOfOpenTextsAndAQuestionOfEach) {
  const Suite& suite = suite_registry().at("language_model6");
  EXPECT_EQ(suite.pack, "language_model.h5");
  std::set<std::string> domains, asked;
  for (const TaskCard& card : suite.tasks) {
    EXPECT_FALSE(card.title.empty() || card.content.empty() || card.split.empty()) << card.name;
    if (card.owner.empty()) {
      domains.insert(card.name);
      EXPECT_EQ(card.classes, 0) << card.name;
      EXPECT_EQ(card.modality, "language model");
    } else {
      asked.insert(card.owner);
      EXPECT_EQ(card.name, card.owner + "_end");
      EXPECT_EQ(card.classes, 4);
      EXPECT_EQ(card.modality, "multiple choice");
    }
  }
  EXPECT_EQ(domains, (std::set<std::string>{"emoji", "example", "name", "noun", "phones", "verb"}));
  EXPECT_EQ(asked, domains);
}

}  // namespace
}  // namespace fusegrid
