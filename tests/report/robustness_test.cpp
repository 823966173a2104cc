#include "report/robustness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/board_fixture.h"
#include "report/table_layout.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;

std::vector<Board> shifted_boards() {
  Results results;
  const auto put_shift = [&](const std::string& method, const std::string& shift,
                             const std::string& outcomes) {
    Cell cell = make_cell(method, "", "ant");
    cell.shift = shift;
    put(results, cell, 0.5, outcomes);
  };
  put_shift("average", "clean", "1111");
  put_shift("average", "fog-3", "1100");
  put_shift("average", "jpeg-1", "1110");
  put_shift("fisher", "clean", "1110");
  put_shift("fisher", "fog-3", "1110");
  return make_boards(toy_records(results));
}

TEST(Robustness, is_what_is_left_of_the_clean_score) {
  const auto all = make_robustness(shifted_boards());
  ASSERT_EQ(all.size(), 1U);
  EXPECT_THAT(all[0].shifts, ElementsAre("fog-3", "jpeg-1"));
  EXPECT_EQ(all[0].lines[0].title, "Average");
  EXPECT_DOUBLE_EQ(all[0].lines[0].relative.value(), (0.5 + 0.75) / 2);
  EXPECT_FALSE(all[0].lines[1].relative) << "one shift is not recorded";
  const TextRows table = robustness_table(all[0]);
  EXPECT_EQ(table.title, "toy, 2 experts: under shifts");
  EXPECT_THAT(table.rows[0], ElementsAre("Average", "100.00", "50.00", "75.00", "62.5"));
  EXPECT_THAT(table.rows[1], ElementsAre("Fisher", "75.00", "75.00", "-", "-"));
}

TEST(Robustness, needs_a_shift) {
  EXPECT_TRUE(make_robustness(make_boards(toy_records(toy_results()))).empty());
}

}  // namespace
}  // namespace fusegrid
