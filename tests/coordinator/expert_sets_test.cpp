#include "coordinator/expert_sets.h"

#include <algorithm>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

Zoo zoo_of(int64_t experts) {
  Zoo zoo;
  zoo.name = "many";
  for (int64_t e = 0; e < experts; ++e) {
    zoo.experts.push_back({.name = "e" + std::to_string(e), .tasks = {}});
  }
  return zoo;
}

std::vector<std::string> texts_of(const std::vector<ExpertSet>& sets) {
  std::vector<std::string> texts;
  for (const ExpertSet& set : sets) {
    texts.push_back(set.experts);
  }
  return texts;
}

std::string refusal(const Zoo& zoo, const std::string& text) {
  try {
    expert_sets(zoo, text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(ExpertSets, that_are_named_are_no_draws) {
  const Zoo zoo = zoo_of(4);
  EXPECT_EQ(texts_of(expert_sets(zoo, "all")), std::vector<std::string>{"4"});
  EXPECT_EQ(texts_of(expert_sets(zoo, "2..4")), (std::vector<std::string>{"2", "3", "4"}));
  EXPECT_EQ(texts_of(expert_sets(zoo, "e0+e1")), std::vector<std::string>{"2"});
  EXPECT_EQ(expert_sets(zoo, "e2+e0")[0].experts, "e2+e0");
  EXPECT_EQ(expert_sets(zoo, "3")[0].draw, "");
}

TEST(ExpertSets, drawn_at_random_are_different_and_numbered) {
  const Zoo zoo = zoo_of(8);
  const auto sets = expert_sets(zoo, "random(3,20)");
  ASSERT_EQ(sets.size(), 20U);
  const auto texts = texts_of(sets);
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), 20U);
  EXPECT_EQ(sets[7].draw, "random 7");
  for (const ExpertSet& set : sets) {
    const auto names = zoo.experts_called(set.experts);
    EXPECT_EQ(names.size(), 3U);
    EXPECT_TRUE(std::is_sorted(names.begin(), names.end())) << "in the order of the zoo: " << set.experts;
  }
  const auto ten = texts_of(expert_sets(zoo, "random(3, 10)"));
  EXPECT_TRUE(std::equal(ten.begin(), ten.end(), texts.begin())) << "fewer draws are a beginning of more";
}

TEST(ExpertSets, drawn_at_random_are_all_there_are_where_so_many_are_asked_for) {
  const auto texts = texts_of(expert_sets(zoo_of(5), "random(2,10)"));
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), 10U);
  EXPECT_THAT(refusal(zoo_of(5), "random(2,11)"), HasSubstr("have fewer of that size"));
}

TEST(ExpertSets, drawn_at_random_have_each_expert_alike) {
  std::map<std::string, int> counts;
  const Zoo zoo = zoo_of(10);
  for (const ExpertSet& set : expert_sets(zoo, "random(5,200)")) {
    for (const std::string& name : zoo.experts_called(set.experts)) {
      ++counts[name];
    }
  }
  for (const auto& [name, count] : counts) {
    EXPECT_NEAR(count, 100, 30) << name;  // of 252 sets; standard deviation about 3.2 without replacement
  }
}

TEST(ExpertSets, that_are_nested_lie_in_each_other) {
  const Zoo zoo = zoo_of(6);
  const auto sets = expert_sets(zoo, "nested(2:4:6,3)");
  ASSERT_EQ(sets.size(), 9U);
  const auto names_of = [&](size_t set) {
    const auto names = zoo.experts_called(sets[set].experts);
    return std::set<std::string>(names.begin(), names.end());
  };
  for (size_t draw = 0; draw < 3; ++draw) {
    EXPECT_EQ(sets[draw].draw, "nested " + std::to_string(draw));
    const auto small = names_of(draw);
    const auto large = names_of(3 + draw);
    EXPECT_EQ(small.size(), 2U);
    EXPECT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end()));
    EXPECT_EQ(sets[6 + draw].experts, "6") << "all experts are one set in any order";
  }
  EXPECT_EQ(expert_sets(zoo, "nested(2..4,1)").size(), 3U);
}

TEST(ExpertSets, that_are_no_draws_are_refused) {
  const Zoo zoo = zoo_of(6);
  for (const char* text :
       {"random(3)", "random(0,2)", "random(2,0)", "drawn(2,3)", "random(2,3", "nested(2::3,1)",
        "nested(4..2,1)", "random(2:2,1)", "random(a,1)", "random(2,99999)", "random()"}) {
    EXPECT_THAT(refusal(zoo, text), HasSubstr("must be random(K, R) or nested(K, R)")) << text;
    EXPECT_THROW(check_experts_text(text), ConfigError) << text;
  }
  EXPECT_THAT(refusal(zoo, "random(7,1)"), HasSubstr("draws 7 experts, but zoo 'many' has 6"));
}

}  // namespace
}  // namespace fusegrid
