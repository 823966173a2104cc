#include "core/text.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(NumberText, is_the_shortest_that_reads_back) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(int64_t{-7}), "-7");
  EXPECT_EQ(parse_double(number_text(1.0 / 3), "x"), 1.0 / 3);
}

TEST(ParseNumbers, refuse_trailing_text_nan_and_overflow) {
  for (const auto* text : {"", "1x", " 1", "nan", "inf", "1e999"}) {
    EXPECT_THROW(parse_double(text, "x"), ConfigError) << text;
  }
  EXPECT_THROW(parse_int("9223372036854775808", "x"), ConfigError);
  EXPECT_THROW(parse_int("1.0", "x"), ConfigError);
}

TEST(Text, splits_joins_trims_and_finds_the_nearest) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(join({"a", "", "b"}, ","), "a,,b");
  EXPECT_EQ(trim(" \ta b\n"), "a b");
  EXPECT_EQ(nearest("scal", {"density", "scale"}), "scale");
  EXPECT_EQ(nearest("zzzzzz", {"density", "scale"}), "");
}

TEST(Text, shows_some_of_many_names) {
  EXPECT_EQ(some_names({}, 2), "");
  EXPECT_EQ(some_names({"a", "b"}, 2), "a, b");
  EXPECT_EQ(some_names({"a", "b", "c", "d"}, 2), "a, b and 2 more");
}

}  // namespace
}  // namespace fusegrid
