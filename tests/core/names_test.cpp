#include "core/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

TEST(CheckName, takes_what_is_one_word_everywhere) {
  for (const auto* name : {"mnist", "clip-b32", "Llama-3.1_8B", "3"}) {
    EXPECT_NO_THROW(check_name(name, "the name of a zoo")) << name;
  }
}

TEST(CheckName, refuses_what_leaves_a_folder_or_breaks_a_cell_s_name_or_a_line_of_a_job) {
  for (const auto* name :
       {"",    ".",   "..",  "../x", "a/b", "/etc", "a b", "a\tb", "a\nb", "a@b",  "a+b", "a,b",  "a=b",
        "a{b", "a}b", "a#b", "a:b",  "-a",  ".a",   "_a",  "a\\b", "a'b",  "a\"b", "a;b", "a[0]", "zoö"}) {
    EXPECT_THROW(check_name(name, "the name of a zoo"), ConfigError) << name;
  }
  EXPECT_THROW(check_name(std::string(101, 'a'), "the name of a zoo"), ConfigError);
  EXPECT_THROW(check_name(std::string("a\0b", 3), "the name of a zoo"), ConfigError);
}

TEST(CheckName, a_task_s_name_is_no_choice_of_experts) {
  EXPECT_NO_THROW(check_task_name("hebrew22", "the name of a task"));
  for (const auto* name : {"3", "all", "a..b", "a+b", ""}) {
    EXPECT_THROW(check_task_name(name, "the name of a task"), ConfigError) << name;
  }
}

TEST(CheckName, says_whose_name_it_is) {
  EXPECT_THAT(message_of<ConfigError>([] { check_name("a b", "the name of a task"); }),
              testing::AllOf(testing::StartsWith("the name of a task must have"),
                             testing::HasSubstr("but it is 'a b'; choose another name")));
}

}  // namespace
}  // namespace fusegrid
