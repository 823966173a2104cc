#include "cli/as_called.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

class AsCalled : public testing::Test {
 protected:
  AsCalled() { ::unsetenv("FUSEGRID_COMMAND"); }
  ~AsCalled() override {
    ::unsetenv("FUSEGRID_COMMAND");
    remember_call("fusegrid");
  }
};

TEST_F(AsCalled, commands_in_a_text_have_the_name_that_was_typed) {
  remember_call("build/ci/src/fusegrid");
  EXPECT_EQ(
      as_called(
          "fusegrid run a.cfg\nmpirun -n 5 fusegrid run a.cfg; 'fusegrid zoo build x', `fusegrid list`"),
      "build/ci/src/fusegrid run a.cfg\nmpirun -n 5 build/ci/src/fusegrid run a.cfg; "
      "'build/ci/src/fusegrid zoo build x', `build/ci/src/fusegrid list`");
}

TEST_F(AsCalled, other_words_are_left_alone) {
  remember_call("./fusegrid");
  for (const auto* text :
       {"fusegrid: error: x", "/home/fusegrid run", "fusegrid-zoo", "fusegrid runs", "a fusegrid"}) {
    EXPECT_EQ(as_called(text), text);
  }
}

TEST_F(AsCalled, the_script_s_name_comes_before_the_program_s_and_is_quoted_for_a_shell) {
  ::setenv("FUSEGRID_COMMAND", "./my $1/fusegrid", 1);
  remember_call("/opt/build/release/src/fusegrid");
  EXPECT_EQ(as_called("'fusegrid list jobs'"), "''./my $1/fusegrid' list jobs'");
}

TEST_F(AsCalled, an_installed_program_is_called_fusegrid) {
  remember_call("fusegrid");
  EXPECT_EQ(as_called("fusegrid run a.cfg"), "fusegrid run a.cfg");
}

}  // namespace
}  // namespace fusegrid
