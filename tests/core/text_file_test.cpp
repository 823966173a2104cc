#include "core/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

using testing::HasSubstr;

class TextFile : public testing::Test {
 protected:
  std::string read(const std::string& bytes) {
    write_text(folder_ / "a.cfg", bytes);
    return read_text_file(folder_ / "a.cfg", "job file");
  }
  TemporaryFolder folder_;
};

TEST_F(TextFile, is_read_whole_without_a_byte_order_mark) {
  EXPECT_EQ(read("zoo = a\r\n# \xC3\xB6\n"), "zoo = a\r\n# \xC3\xB6\n");
  EXPECT_EQ(read("\xEF\xBB\xBFzoo = a\n"), "zoo = a\n");
  EXPECT_EQ(read(""), "");
}

TEST_F(TextFile, other_encodings_and_binary_files_are_named) {
  for (const auto& bytes : {std::string("\xFF\xFEz\0", 4), std::string("\xFE\xFF\0z", 4)}) {
    EXPECT_THAT(message_of<ConfigError>([&] { read(bytes); }),
                HasSubstr("it is in UTF-16; save it as UTF-8"));
  }
  EXPECT_THAT(message_of<ConfigError>([&] { read(std::string("z\0o\0", 4)); }), HasSubstr("zero bytes"));
  EXPECT_THAT(message_of<ConfigError>([&] { read(std::string((16 << 20) + 1, 'a')); }),
              HasSubstr("at most 16 MiB"));
}

TEST_F(TextFile, missing_files_and_folders_are_told_apart) {
  EXPECT_EQ(message_of<ConfigError>([&] { read_text_file("no/such.cfg", "job file"); }),
            "there is no job file 'no/such.cfg'");
  EXPECT_THAT(message_of<IoError>([&] { read_text_file(folder_.path(), "job file"); }),
              HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace fusegrid
