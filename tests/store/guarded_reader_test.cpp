#include "store/guarded_reader.h"

#include <csignal>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "store/support.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

const GuardedReader echo("test.echo",
                         [](const fs::path& path) { return path.string() + std::string("\0b", 2); });
const GuardedReader nothing("test.nothing", [](const fs::path&) { return std::string(); });
const GuardedReader much("test.much", [](const fs::path&) { return std::string(10 << 20, 'x'); });
const GuardedReader disk_error("test.disk_error",
                               [](const fs::path&) -> std::string { throw IoError("disk"); });
const GuardedReader dies("test.dies", [](const fs::path& signal) {
  ::raise(std::stoi(signal.string()));
  return std::string("alive");
});
const GuardedReader leaves("test.leaves", [](const fs::path&) -> std::string { ::_exit(0); });
const GuardedReader hangs("test.hangs", [](const fs::path&) -> std::string {
  for (;;) {
    ::pause();
  }
});
// What it inherited: the process's own descriptors above the answer's, and its group.
const GuardedReader inherited("test.inherited", [](const fs::path& descriptor) {
  const bool open = ::fcntl(std::stoi(descriptor.string()), F_GETFD) >= 0;
  return std::string(open ? "open" : "closed") +
         (::getpgrp() == ::getpid() ? ", own group" : ", group of the parent");
});

TEST(GuardedReader, HandsOverAnswersAndErrors) {
  EXPECT_EQ(echo("a file"), std::string("a file\0b", 8));
  EXPECT_EQ(nothing("x"), "");
  EXPECT_EQ(much("x").size(), size_t{10} << 20);
  EXPECT_EQ(error_of<IoError>([] { disk_error("x"); }), "disk");
}

TEST(GuardedReader, TellsACrashFromAnEndFromOutside) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE}) {
    EXPECT_THAT(error_of<DataError>([&] { dies(std::to_string(signal)); }), HasSubstr("crashed the reader"));
  }
  for (const int signal : {SIGKILL, SIGTERM, SIGINT}) {
    EXPECT_THAT(error_of<IoError>([&] { dies(std::to_string(signal)); }), HasSubstr("ended from outside"));
  }
  EXPECT_THAT(error_of<DataError>([] { leaves("x"); }), HasSubstr("without an answer"));
  EXPECT_THAT(error_of<DataError>([] { hangs("x", 1); }), HasSubstr("Alarm"));
}

TEST(GuardedReader, KeepsDescriptorsAndTerminalOfTheParentAway) {
  const TemporaryFolder folder;
  const int first_free = ::open(folder.path().c_str(), O_RDONLY);
  const int descriptor = ::fcntl(first_free, F_DUPFD_CLOEXEC, 50);  // far from those that the reader opens
  ::close(first_free);
  EXPECT_EQ(inherited(std::to_string(descriptor)), "closed, own group");
  ::close(descriptor);
}

TEST(GuardedReader, IgnoresTheParentsHandlers) {
  const auto before = std::signal(SIGSEGV, [](int) { ::_exit(0); });
  EXPECT_THAT(error_of<DataError>([] { dies(std::to_string(SIGSEGV)); }), HasSubstr("crashed the reader"));
  std::signal(SIGSEGV, before);
}

}  // namespace
}  // namespace fusegrid::test
