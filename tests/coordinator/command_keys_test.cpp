#include "coordinator/command_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

std::vector<std::string> words(const std::string& text) {
  return line_value(text).words;
}

TEST(LineValue, is_separated_by_spaces_outside_of_quotes) {
  EXPECT_THAT(words("  python3  a.py {request}\t-v "), ElementsAre("python3", "a.py", "{request}", "-v"));
  EXPECT_THAT(words("sh -c 'cp \"$1\" # x' \"a b\"c ''"),
              ElementsAre("sh", "-c", "cp \"$1\" # x", "a bc", ""));
  EXPECT_THAT(words(R"("say \"hi\" \\ \n" \a 'back\slash')"),
              ElementsAre(R"(say "hi" \ \n)", R"(\a)", R"(back\slash)"));
  EXPECT_TRUE(words("  ").empty());
}

TEST(LineValue, ends_where_a_comment_begins) {
  const LineValue value = line_value(" a 'b # c'  # why");
  EXPECT_EQ(value.text, "a 'b # c'");
  EXPECT_THAT(value.words, ElementsAre("a", "b # c"));
}

TEST(LineValue, a_quote_must_end) {
  EXPECT_THAT(message_of<ConfigError>([] { line_value("sh -c 'no end"); }),
              HasSubstr("' has no end in: sh -c 'no end"));
}

TEST(KeyLine, must_be_one_of_those_known) {
  const KeyLine line = read_key_line(" command = sh {request} # mine", "task:a", {"command"});
  EXPECT_EQ(line.key, "command");
  EXPECT_EQ(line.value.text, "sh {request}");
  const auto error_of = [](const std::string& text) {
    return message_of<ConfigError>([&] { read_key_line(text, "task:a", {"command", "metric"}); });
  };
  EXPECT_THAT(error_of("comand = c"), HasSubstr("[task:a] has no key 'comand'; did you mean 'command'"));
  EXPECT_THAT(error_of("command"), HasSubstr("neither 'key = value' nor"));
  EXPECT_THAT(error_of("command = # none"), HasSubstr("'command' has no value"));
}

TEST(CommandKeys, are_a_command_with_its_request_and_its_time) {
  UserCommand command;
  const auto read = [&](const std::string& key, const std::string& value) {
    return read_command_key({key, line_value(value)}, "python3 my.py", command);
  };
  EXPECT_TRUE(read("command", "sh -c 'x' {request}"));
  EXPECT_TRUE(read("timeout_s", "90"));
  EXPECT_FALSE(read("metric", "accuracy"));
  EXPECT_EQ(command.text, "sh -c 'x' {request}");
  EXPECT_THAT(command.words, ElementsAre("sh", "-c", "x", "{request}"));
  EXPECT_EQ(command.timeout_s, 90);
  EXPECT_THAT(message_of<ConfigError>([&] { read("command", "sh x"); }),
              AllOf(HasSubstr("must have {request}"), HasSubstr("it is 'sh x'"),
                    HasSubstr("write 'command = python3 my.py {request}'")));
  EXPECT_THAT(message_of<ConfigError>([&] { read("timeout_s", "0"); }),
              HasSubstr("must lie in [1, 604800], but it is 0"));
  EXPECT_THAT(message_of<ConfigError>([&] { read("timeout_s", "5 6"); }),
              HasSubstr("put a value with spaces in quotes"));
}

TEST(CommandBindings, are_its_text_and_its_files) {
  const UserCommand command{.text = "sh x {request}", .words = {}, .files = {{"x", "digest"}}};
  EXPECT_THAT(command_bindings(command, "task "),
              UnorderedElementsAre(Pair("task command", "sh x {request}"), Pair("task file x", "digest")));
}

}  // namespace
}  // namespace fusegrid
