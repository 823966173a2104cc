#include "cli/print.h"

#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

TEST(Print, tables_align_text_left_and_numbers_right) {
  TextTable table({"method", "cells"});
  table.add({"ties", "8"});
  table.add({"dare", "128"});
  EXPECT_EQ(table.text(), "method  cells\nties        8\ndare      128\n");
  EXPECT_EQ(table.text(false), "ties        8\ndare      128\n");
}

TEST(Print, markdown_escapes_bars) {
  TextTable table({"a", "b"});
  table.add({"sum | mean", "2"});
  EXPECT_EQ(table.markdown(), "| a | b |\n| --- | --- |\n| sum \\| mean | 2 |\n");
}

TEST(Print, durations_and_bytes_have_fitting_units) {
  EXPECT_EQ(duration_text(0.44), "0.4 s");
  EXPECT_EQ(duration_text(59.2), "59 s");
  EXPECT_EQ(duration_text(185), "3 min 5 s");
  EXPECT_EQ(duration_text(7440), "2 h 4 min");
  EXPECT_EQ(bytes_text(832), "832 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(int64_t{5} << 40), "5120.0 GiB");
}

TEST(ParseBytes, knows_decimal_and_binary_units) {
  const auto bytes = [](const std::string& text) { return parse_bytes(text, "--size"); };
  EXPECT_EQ(bytes("4096"), 4096);
  EXPECT_EQ(bytes("500MB"), 500'000'000);
  EXPECT_EQ(bytes("1.5GiB"), int64_t{3} << 29);
  EXPECT_EQ(bytes("2G"), int64_t{1} << 31);
  for (const auto* wrong : {"", "G", "5 G", "-1", "1e9", "0", "0.1B", "5XB", "9999TiB"}) {
    EXPECT_THROW(bytes(wrong), UsageError) << wrong;
  }
}

TEST(Print, words_are_quoted_for_a_shell_only_where_needed) {
  EXPECT_EQ(shell_quoted("jobs/a-1.cfg"), "jobs/a-1.cfg");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(Print, paragraphs_are_wrapped_between_words) {
  EXPECT_EQ(wrap("one two three", 7), "one two\nthree\n");
}

}  // namespace
}  // namespace fusegrid
