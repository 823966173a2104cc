#include "core/files.h"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  TemporaryFolder folder;
};

TEST_F(Files, of_names_that_none_can_have_are_not_there) {
  EXPECT_TRUE(is_there(folder / ""));
  EXPECT_FALSE(is_there(folder / "absent"));
  EXPECT_FALSE(is_there(folder / std::string(300, 'a')));
  EXPECT_FALSE(is_there(folder / std::string(5000, 'a')));
}

TEST_F(Files, are_written_whole_in_place_of_what_was_there) {
  write_atomically(folder / "a", "first");
  write_atomically(folder / "a", "second");
  EXPECT_EQ(read_text(folder / "a"), "second");
  write_synced(folder / "a", "");
  EXPECT_EQ(read_text(folder / "a"), "");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"a"}));
}

TEST_F(Files, that_are_links_are_replaced_and_not_followed) {
  write_text(folder / "target", "mine");
  for (const auto& write : {write_atomically, write_synced}) {
    std::filesystem::remove(folder / "link");
    std::filesystem::create_symlink(folder / "target", folder / "link");
    write(folder / "link", "new");
    EXPECT_FALSE(std::filesystem::is_symlink(folder / "link"));
    EXPECT_EQ(read_text(folder / "link"), "new");
    EXPECT_EQ(read_text(folder / "target"), "mine");
  }
}

TEST_F(Files, stay_as_they_were_where_the_disk_is_full) {
  write_atomically(folder / "a", "old");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{100, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &full);
  const std::string message =
      message_of<IoError>([&] { write_atomically(folder / "a", std::string(1000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, AllOf(HasSubstr("cannot write '" + (folder / "a").string()), HasSubstr("too large")));
  EXPECT_EQ(read_text(folder / "a"), "old");
  EXPECT_EQ(folder.names(), (std::set<std::string>{"a"}));
}

TEST_F(Files, that_cannot_be_written_are_named_with_the_reason) {
  EXPECT_THAT(message_of<IoError>([&] { write_atomically(folder / "none/a", "x"); }),
              AllOf(HasSubstr((folder / "none/a").string()), HasSubstr("No such file or directory")));
  std::filesystem::create_directories(folder / "b/c");
  EXPECT_THAT(message_of<IoError>([&] { write_atomically(folder / "b", "x"); }),
              AllOf(HasSubstr("to '" + (folder / "b").string() + "': Is a directory")));
  EXPECT_EQ(folder.names(), (std::set<std::string>{"b"}));
}

TEST_F(Files, temporary_paths_leave_nothing_unless_they_are_published) {
  for (const bool finished : {false, true}) {
    TemporaryPath temporary(folder / "made");
    EXPECT_TRUE(temporary.path().string().starts_with(TemporaryPath::stem(folder / "made")));
    std::filesystem::create_directories(temporary.path() / "below");
    if (finished) {
      temporary.publish();
    }
  }
  EXPECT_EQ(folder.names(), (std::set<std::string>{"made"}));
  EXPECT_TRUE(std::filesystem::exists(folder / "made/below"));
}

}  // namespace
}  // namespace fusegrid
