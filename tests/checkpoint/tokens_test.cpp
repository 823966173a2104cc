#include "checkpoint/tokens.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

Tokens tokens_with(const std::map<std::string, std::string>& files) {
  const TemporaryFolder folder;
  for (const auto& [name, text] : files) {
    write_text(folder / name, text);
  }
  return tokens_of(folder.path(), {});
}

TEST(Tokens, are_those_of_tokenizer_json) {
  const Tokens want{{0, "a"}, {1, "b"}, {7, "<pad>"}};
  const std::string added = R"("added_tokens": [{"id": 7, "content": "<pad>"}])";
  EXPECT_EQ(tokens_with({{"tokenizer.json", R"({"model": {"vocab": {"a": 0, "b": 1}}, )" + added + "}"}}),
            want);
  EXPECT_EQ(
      tokens_with({{"tokenizer.json", R"({"model": {"vocab": [["a", 0.5], ["b", -1]]}, )" + added + "}"},
                   {"vocab.txt", "not looked at"}}),
      want);
}

TEST(Tokens, are_read_from_what_older_libraries_write) {
  EXPECT_EQ(tokens_with({{"vocab.txt", "[PAD]\r\na\nb\n"}}), (Tokens{{0, "[PAD]"}, {1, "a"}, {2, "b"}}));
  EXPECT_EQ(tokens_with({{"vocab.json", R"({"a": 0})"}, {"added_tokens.json", R"({"<x>": 1})"}}),
            (Tokens{{0, "a"}, {1, "<x>"}}));
  // pieces "a" with a score, and "bc" with a type; then a field of another number
  const std::string pieces(
      "\x0a\x08\x0a\x01"
      "a"
      "\x15\x00\x00\x80\x3f"
      "\x0a\x06\x0a\x02"
      "bc"
      "\x18\x02"
      "\x12\x01"
      "z",
      21);
  EXPECT_EQ(
      tokens_with({{"tokenizer.model", pieces},
                   {"tokenizer_config.json", R"({"added_tokens_decoder": {"2": {"content": "<pad>"}}})"}}),
      (Tokens{{0, "a"}, {1, "bc"}, {2, "<pad>"}}));
}

TEST(Tokens, are_none_where_no_file_tells_them) {
  EXPECT_TRUE(tokens_with({}).empty());
  EXPECT_TRUE(tokens_with({{"tokenizer.json", "{}"}}).empty());
  EXPECT_TRUE(tokens_with({{"tokenizer.json", "damaged"}, {"vocab.json", "[]"}}).empty());
  EXPECT_TRUE(tokens_with({{"tokenizer.model", "\x0a\xff"}}).empty());
}

}  // namespace
}  // namespace fusegrid
