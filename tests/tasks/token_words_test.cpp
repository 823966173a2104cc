#include "tasks/token_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using testing::ElementsAre;

TokenTable table_of() {
  TokenTable table;
  table.entries = {"<pad>", "<s>", "</s>", " in", "put", " s", "out", "a", "n", "i"};
  table.special = {0, 1, 2};
  return table;
}

TEST(WordsOf, BeginWithASpaceOrBehindASpecialToken) {
  const std::vector<int32_t> row{1, 3, 4, 5, 2, 6, 4, 2};
  const auto words = words_of(row, table_of());
  ASSERT_EQ(words.size(), 6U);
  EXPECT_TRUE(words[0].special);
  EXPECT_EQ(words[1].text, " input");
  EXPECT_THAT(words[1].ids, ElementsAre(3, 4));
  EXPECT_EQ(words[2].text, " s");
  EXPECT_TRUE(words[3].special);
  EXPECT_EQ(words[4].text, "output") << "the second text of a pair";
  EXPECT_TRUE(words[5].special);
}

TEST(TokenWriter, TakesTheLongestTokenThatFits) {
  const TokenWriter writer(table_of());
  EXPECT_THAT(writer.write(" input").value(), ElementsAre(3, 4));
  EXPECT_THAT(writer.write("ain").value(), ElementsAre(7, 9, 8));
  EXPECT_FALSE(writer.write("ab")) << "no token has a b";
  EXPECT_FALSE(writer.write("<s>")) << "special tokens are no text";
  EXPECT_THAT(writer.write("").value(), testing::IsEmpty());
}

}  // namespace
}  // namespace fusegrid
