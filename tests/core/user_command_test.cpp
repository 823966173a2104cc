#include "core/user_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

TEST(UserCommand, programs_must_be_there) {
  EXPECT_EQ(program_of({.words = {"/bin/sh"}}), "/bin/sh");
  EXPECT_EQ(program_of({.words = {"sh"}}).filename(), "sh");
  EXPECT_TRUE(program_of({.words = {"sh"}}).is_absolute());
  EXPECT_THAT(message_of<ConfigError>([] { program_of({.words = {"no-such-program"}}); }),
              HasSubstr("'no-such-program' is none in $PATH"));
  EXPECT_THAT(message_of<ConfigError>([] { program_of({.words = {"/etc/passwd"}}); }), HasSubstr("is none;"));
}

TEST(UserCommand, files_that_it_names_are_watched_and_programs_of_the_system_are_not) {
  const TemporaryFolder folder;
  const std::string script = (folder / "my script.py").string();
  write_text(script, "v1");
  UserCommand command{.text = "sh ...", .words = {"sh", script, kRequestWord}};
  digest_files(command);
  ASSERT_EQ(command.files.size(), 1U);
  EXPECT_EQ(command.files.at(script).size(), 64U);
  EXPECT_NO_THROW(check_files(command));
  write_text(script, "v2");
  EXPECT_THAT(message_of<DataError>([&] { check_files(command); }),
              HasSubstr("names '" + script + "', which has changed since the run began"));
}

TEST(UserCommand, survives_json) {
  const UserCommand command{.text = "sh x {request}",
                            .words = {"sh", "x", "{request}"},
                            .timeout_s = 9,
                            .files = {{"x", "digest"}}};
  const UserCommand read = nlohmann::json(command);
  EXPECT_EQ(read.text, command.text);
  EXPECT_EQ(read.words, command.words);
  EXPECT_EQ(read.timeout_s, 9);
  EXPECT_EQ(read.files, command.files);
}

}  // namespace
}  // namespace fusegrid
