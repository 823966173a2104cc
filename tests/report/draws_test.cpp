#include "report/draws.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/board_fixture.h"
#include "report/table_layout.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Sets of two of the experts a to d: what pretrained, the best expert and the average have right of four examples.
Records drawn_records() {
  Results results;
  const auto put_set = [&](const std::string& experts, const std::string& base, const std::string& best,
                           const std::string& average) {
    put(results, make_cell("pretrained", "", "ant", 0, experts), 0.5, base);
    put(results, make_cell("best_expert", "", "ant", 0, experts), 0.5, best);
    put(results, make_cell("average", "", "ant", 0, experts), 0.5, average);
  };
  put_set("2", "1000", "1100", "1110");    // also named by the job
  put_set("a+c", "1000", "1100", "1100");  // beats the base alone
  put_set("b+d", "1100", "1100", "1000");  // beats none
  put_set("a+b+c", "1000", "1100", "1111");
  Records records = toy_records(results);
  for (const std::string name : {"pretrained", "best_expert"}) {
    records.methods[name] = {name, name, "-", "reference", "", "one model", false};
  }
  RunInfo run;
  run.provenance["expert_sets"]["toy"] = {{"2", {"random 0", "named"}},
                                          {"a+c", {"random 1"}},
                                          {"b+d", {"random 2", "nested 0"}},
                                          {"a+b+c", {"nested 0"}}};
  records.runs.push_back(run);
  return records;
}

const DrawRow& draw_row_of(const Draws& draws, const std::string& method) {
  for (const DrawRow& row : draws.rows) {
    if (row.method.name == method) {
      return row;
    }
  }
  throw std::out_of_range("no row " + method);
}

TEST(Draws, are_those_that_launches_recorded) {
  const Records records = drawn_records();
  const auto boards = make_boards(records);
  ASSERT_EQ(boards.size(), 4U);
  const auto draws = make_draws(records, boards);
  ASSERT_EQ(draws.size(), 3U);
  EXPECT_EQ(draws[0].kind + " " + std::to_string(draws[0].experts), "nested 2");
  EXPECT_EQ(draws[1].kind + " " + std::to_string(draws[1].experts), "nested 3");
  EXPECT_EQ(draws[2].kind + " " + std::to_string(draws[2].experts), "random 2");
  EXPECT_EQ(draws[2].boards, 3);
  // "2" is shown as a board, too, since the job names it
  EXPECT_THAT(drawn_boards(records, boards), ElementsAre(false, true, true, true));
}

TEST(Draws, of_a_folder_without_any_are_none) {
  const Records records = toy_records(toy_results());
  EXPECT_TRUE(make_draws(records, make_boards(records)).empty());
}

TEST(Draws, count_what_a_merge_gains) {
  const Records records = drawn_records();
  const Draws draws = make_draws(records, make_boards(records)).at(2);
  const DrawRow& row = draw_row_of(draws, "average");
  EXPECT_EQ(row.draws, 3);
  EXPECT_DOUBLE_EQ(row.seen->value, 0.5);
  EXPECT_EQ(row.beats_base->hits, 2);
  EXPECT_EQ(row.beats_base->draws, 3);
  EXPECT_EQ(row.beats_best->hits, 1) << "equal is not better";
  // 0.5, 0.25 and -0.25: mean 1/6, deviation 0.381881, 2 degrees of freedom
  EXPECT_NEAR(row.gain_over_base->value, 1.0 / 6, 1e-12);
  EXPECT_NEAR(row.gain_over_base->interval->high - 1.0 / 6, 4.302653 * 0.3818813 / std::sqrt(3.0), 1e-6);
  EXPECT_FALSE(draw_row_of(draws, "pretrained").beats_base) << "a row is not compared with itself";
}

// From Newcombe (1998), table I: 81 of 263, and 0 of 20.
TEST(Share, has_wilsons_interval) {
  const Interval some = Share{81, 263}.interval();
  EXPECT_NEAR(some.low, 0.2553, 5e-5);
  EXPECT_NEAR(some.high, 0.3662, 5e-5);
  const Interval none = Share{0, 20}.interval();
  EXPECT_DOUBLE_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.1611, 5e-5);
}

TEST(DrawTables, show_means_shares_and_sizes) {
  const Records records = drawn_records();
  const auto draws = make_draws(records, make_boards(records));
  const TextRows table = draw_table(draws[2]);
  EXPECT_EQ(table.title, "toy: 3 random sets of 2 experts");
  EXPECT_THAT(table.rows[0], testing::Contains(HasSubstr("2/3 (21 - 94)")));
  const auto scaling = draw_scaling_tables(draws);
  ASSERT_EQ(scaling.size(), 1U);
  EXPECT_THAT(scaling[0].header, ElementsAre("Method", "2", "3"));
  EXPECT_THAT(scaling[0].rows[0], ElementsAre("Average", "25.00", "100.00"));
  EXPECT_THAT(csv_draws(draws), HasSubstr("toy,clean,random,2,3,average,Average,3,0.5,"));
}

}  // namespace
}  // namespace fusegrid
