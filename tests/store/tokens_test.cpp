#include "store/tokens.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusegrid::test {
namespace {

using testing::ElementsAre;

TEST(TokenRows, AreAsLongAsTheyAre) {
  const TokenRows rows{at::tensor({7, 8, 9}, at::kInt), at::tensor({0, 2, 3}, at::kLong)};
  EXPECT_EQ(rows.size(), 2);
  EXPECT_THAT(rows.row(0), ElementsAre(7, 8));
  EXPECT_THAT(rows.row(1), ElementsAre(9));
  EXPECT_FALSE(TokenRows{}.defined());
}

TEST(TokenTable, JoinsTheBytesOfARowWithoutSpecialTokensAndTheFirstSpace) {
  TokenTable table;
  table.entries = {"<pad>", "<cls>", " a", "b", " ", "\xc3", "\xa9"};
  table.special = {0, 1};
  const auto text = [&](const std::vector<int32_t>& row) { return table.text(row); };
  EXPECT_EQ(table.size(), 7);
  EXPECT_EQ(text({1, 2, 3, 2, 1}), "ab a");
  EXPECT_EQ(text({3, 5, 6}), "b\u00e9");  // a character may be two tokens
  EXPECT_EQ(text({4, 2, 0}), " a");       // one space only
  EXPECT_EQ(text({}), "");
}

}  // namespace
}  // namespace fusegrid::test
