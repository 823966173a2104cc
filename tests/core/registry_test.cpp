#include "core/registry.h"

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

Registry<int> numbers() {
  Registry<int> registry("number");
  registry.add("two", 2);
  registry.add("one", 1);
  return registry;
}

TEST(Registry, finds_what_was_added) {
  EXPECT_EQ(numbers().at("two"), 2);
  EXPECT_TRUE(numbers().contains("one"));
  EXPECT_FALSE(numbers().contains("three"));
}

TEST(Registry, lists_names_sorted_whatever_the_order_of_adding) {
  EXPECT_EQ(numbers().names(), (std::vector<std::string>{"one", "two"}));
}

TEST(Registry, says_what_is_known_and_what_was_meant) {
  try {
    numbers().at("tow");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("no number 'tow'"), std::string::npos) << message;
    EXPECT_NE(message.find("did you mean 'two'?"), std::string::npos) << message;
    EXPECT_NE(message.find("one, two"), std::string::npos) << message;
  }
}

TEST(Registry, knows_others_that_it_does_not_list) {
  static const int answer = 42;
  Registry<int> registry("number",
                         [](const std::string& name) { return name == "answer" ? &answer : nullptr; });
  registry.add("one", 1);
  EXPECT_EQ(registry.at("answer"), 42);
  EXPECT_TRUE(registry.contains("answer"));
  EXPECT_EQ(registry.names(), (std::vector<std::string>{"one"}));
  EXPECT_FALSE(registry.contains("two"));
  EXPECT_THROW(registry.at("two"), ConfigError);
}

TEST(RegistryDeathTest, stops_the_program_where_a_name_is_registered_twice) {
  Registry<int> registry = numbers();
  EXPECT_DEATH(registry.add("one", 3), "number 'one' is registered twice");
}

}  // namespace
}  // namespace fusegrid
