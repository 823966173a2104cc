#include "report/published.h"

#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "report/board_fixture.h"
#include "report/published_writers.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Of the toy results: tasks "ant" (4 examples) and "bee_fly" (5).
const std::string kToyTable =
    "# Toys\n"
    "# From a page.\n"
    "kind,row,cells,tolerance,ant,bee_fly,average,note\n"
    "metric,,,,accuracy,accuracy,,\n"
    "examples,,,,4,5,,\n";

Records published_records(const std::string& table, const Results& results = toy_results()) {
  Records records = toy_records(results);
  for (const auto& [name, result] : results) {
    records.plans["toys"].push_back(name);
  }
  records.runs.push_back(
      {.kind = "grid",
       .plan_sha256 = "",
       .provenance = {{"job", "jobs/toys.cfg"}, {"published", published_record(table, "toys.csv")}},
       .bindings = {},
       .methods = {},
       .tasks = {}});
  return records;
}

ComparedBoard compared(const std::string& rows, const Results& results = toy_results()) {
  const auto boards = compare_with_published(published_records(kToyTable + rows, results));
  EXPECT_EQ(boards.size(), 1U);
  return boards.at(0);
}

std::string refusal_of(const Records& records) {
  try {
    compare_with_published(records);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "compared";
}

// `average` has 2 of 4 and 2 of 5.
TEST(Published, differences_are_in_points_and_where_counts_are_known_in_right_answers) {
  const ComparedBoard board = compared(
      "percent,A,average,1,50.4,38,44.5,\n"
      "count,B,average,1,1,2,,\n");
  const ComparedRow& percent = board.rows.at(0);
  EXPECT_DOUBLE_EQ(*percent.by_task[0].here, 50);
  EXPECT_NEAR(*percent.by_task[0].points, -0.4, 1e-12);
  EXPECT_FALSE(percent.by_task[0].right);
  EXPECT_FALSE(percent.by_task[0].outside);
  EXPECT_NEAR(*percent.by_task[1].points, 2, 1e-12);
  EXPECT_TRUE(percent.by_task[1].outside);
  EXPECT_NEAR(*percent.average.here, 45, 1e-12);
  EXPECT_NEAR(*percent.average.points, 0.5, 1e-12);
  EXPECT_EQ(percent.state, RowState::kOutside);
  const ComparedRow& count = board.rows.at(1);
  EXPECT_NEAR(*count.by_task[0].points, 25, 1e-12);
  EXPECT_NEAR(*count.by_task[0].right, 1, 1e-12);  // as far as the tolerance
  EXPECT_FALSE(count.by_task[0].outside);
  EXPECT_FALSE(count.average.points);
  EXPECT_EQ(count.state, RowState::kWithin);
  EXPECT_EQ(outcome_of({board}), ExitCode::kDiffers);
}

// Each setting is a row of its own, whatever validation would choose.
TEST(Published, rows_are_settings_as_cells_are_named) {
  const ComparedBoard board = compared(
      "percent,Half,scaled{scale=0.5},1,75,60,67.5,\n"
      "percent,One,scaled{scale=1},1,100,100,100,\n");
  EXPECT_EQ(board.rows[0].state, RowState::kWithin);
  EXPECT_EQ(board.rows[1].state, RowState::kWithin);
  EXPECT_THAT(board.unpublished, ElementsAre("adapt", "average", "individual", "masks"));
  EXPECT_EQ(outcome_of({board}), ExitCode::kOk);
}

TEST(Published, rows_without_results_say_why) {
  const ComparedBoard board = compared(
      "percent,New,,1,75,60,67.5,\n"
      "percent,Other,scaled{scale=0.7},1,75,60,67.5,\n"
      "percent,Failed,adapt,1,50,60,55,\n"
      "percent,Half,adapt,1,50,,,\n");
  EXPECT_EQ(board.rows[0].state, RowState::kNotRun);
  EXPECT_EQ(board.rows[0].reason, "this program cannot make it");
  EXPECT_EQ(board.rows[1].reason, "not in the job");
  EXPECT_EQ(board.rows[2].state, RowState::kIncomplete);
  EXPECT_THAT(board.rows[2].reason, HasSubstr("bee_fly failed: signal 11"));
  EXPECT_EQ(*board.rows[2].by_task[0].here, 50);
  EXPECT_FALSE(board.rows[2].average.here);
  EXPECT_EQ(board.rows[3].state, RowState::kWithin);  // what failed is not published
  EXPECT_EQ(outcome_of({board}), ExitCode::kCellsFailed);
}

TEST(Published, a_planned_row_without_results_has_none_yet) {
  Records records = published_records(kToyTable + "percent,Later,later,1,75,60,67.5,\n");
  for (const std::string task : {"ant", "bee_fly"}) {
    records.plans["toys"].push_back(make_cell("later", "", task).name());
  }
  EXPECT_EQ(compare_with_published(records)[0].rows[0].reason, "no result yet");
}

TEST(Published, an_average_that_is_published_alone_is_compared) {
  const ComparedBoard board = compared("percent,A,average,0.1,,,45.05,\n");
  EXPECT_NEAR(*board.rows[0].average.points, -0.05, 1e-12);
  EXPECT_EQ(board.rows[0].state, RowState::kWithin);
}

TEST(Published, means_are_over_seeds) {
  Results results = toy_results();
  put(results, make_cell("average", "", "ant", 1), 0.5, "1110");
  put(results, make_cell("average", "", "bee_fly", 1), 0.5, "11000");
  const ComparedBoard board = compared("count,A,average,1,2,2,,\n", results);
  EXPECT_NEAR(*board.rows[0].by_task[0].here, 62.5, 1e-12);
  EXPECT_NEAR(*board.rows[0].by_task[0].right, 0.5, 1e-12);
  EXPECT_THAT(markdown_published({board}), HasSubstr("means over 2 seeds"));
}

TEST(Published, seen_and_unseen_tasks_have_averages_of_their_own) {
  const std::string table =
      "# Toys\nkind,row,cells,tolerance,ant,bee_fly,average,unseen\nmetric,,,,accuracy,accuracy,,\n"
      "percent,A,average,1,50,40,50,41.5\n";
  Records records = published_records(table);
  records.bindings[owner_binding("toy", "2", "ant")] = {"ant", 0};
  records.bindings[owner_binding("toy", "2", "bee_fly")] = {kNoOwner, 0};
  const ComparedRow row = compare_with_published(records)[0].rows[0];
  EXPECT_EQ(*row.average.here, 50);
  EXPECT_NEAR(*row.unseen.points, -1.5, 1e-12);
  EXPECT_TRUE(row.unseen.outside);
}

TEST(Published, rows_made_of_an_expert_that_saw_its_test_examples_are_marked) {
  const std::string head =
      "# "
      "Toys\nkind,row,cells,tolerance,ant,bee_fly,average\nmetric,,,,accuracy,accuracy,\ntest-trained,,,,,"
      "yes,\n";
  Records records = published_records(head +
                                      "percent,Mean,average,1,50,40,45\n"
                                      "percent,Base,pretrained,1,50,40,45\n");
  const auto boards = compare_with_published(records);
  EXPECT_TRUE(boards[0].rows[0].saw_test);
  EXPECT_FALSE(boards[0].rows[1].saw_test);
  const std::string text = markdown_published(boards);
  EXPECT_THAT(text, HasSubstr("| Mean ‡"));
  EXPECT_THAT(text, HasSubstr("- ‡ bee_fly: this expert was trained on the test examples of its task"));
  EXPECT_THAT(latex_published(boards), HasSubstr("Mean $^{\\ddagger}$"));
}

TEST(Published, a_table_tells_boards_apart_by_zoo_experts_and_shift) {
  const std::string columns = "# Toys\nkind,zoo,experts,row,cells,tolerance,ant,bee_fly,average\n";
  const std::string metric = "metric,,,,,,accuracy,accuracy,\n";
  Results results = toy_results();
  put(results, make_cell("average", "", "ant", 0, "1"), 0.5, "1111");
  put(results, make_cell("average", "", "bee_fly", 0, "1"), 0.5, "11111");
  const auto boards = compare_with_published(published_records(
      columns + metric + "percent,toy,2,A,average,1,50,40,45\npercent,toy,1,A,average,1,100,100,100\n",
      results));
  ASSERT_EQ(boards.size(), 2U);
  EXPECT_EQ(boards[0].experts, "2");  // as the table has them
  EXPECT_EQ(boards[0].rows.size(), 1U);
  const std::string text = markdown_published(boards);
  EXPECT_THAT(text, HasSubstr("\n## Toys\n"));
  EXPECT_LT(text.find("| *toy, 2 experts*"), text.find("| *toy, 1 expert*"));
  EXPECT_THAT(text, HasSubstr("- 2 published rows: 2 within tolerance"));
  EXPECT_THAT(latex_published(boards), HasSubstr("\\multicolumn{5}{l}{\\emph{toy, 1 expert}}"));
  EXPECT_EQ(outcome_of(boards), ExitCode::kOk);
  EXPECT_THAT(
      refusal_of(published_records(columns + metric + "percent,other,,A,average,1,50,40,45\n")),
      HasSubstr("the rows of toys.csv are of other/experts=any@clean, but the job has toy/experts=2@clean"));
}

TEST(Published, results_that_do_not_compare_are_refused) {
  const std::string row = "percent,A,average,1,50,40,45\n";
  EXPECT_THAT(refusal_of(toy_records(toy_results())),
              HasSubstr("write 'published = FILE' above the first section"));
  EXPECT_THAT(refusal_of(published_records("# T\nkind,row,cells,tolerance,ant,cat,average\n"
                                           "metric,,,,accuracy,accuracy,\n" +
                                           row)),
              HasSubstr("every task of toys.csv must be tested, but toy/experts=2@clean has no cat"));
  EXPECT_THAT(refusal_of(published_records("# T\nkind,row,cells,tolerance,ant,bee_fly,average\n"
                                           "metric,,,,accuracy,accuracy,\nexamples,,,,4,6,\n" +
                                           row)),
              HasSubstr("6 test examples of 'bee_fly', but the results of toy/experts=2@clean are of 5"));
}

// A newer launch of the job names another table, or none.
TEST(Published, the_newest_launch_of_a_job_counts) {
  Records records = published_records(kToyTable + "percent,A,average,1,90,90,90,\n");
  RunInfo newer = records.runs[0];
  newer.provenance["published"] = published_record(kToyTable + "percent,A,average,1,50,40,45,\n", "new.csv");
  records.runs.push_back(newer);
  EXPECT_EQ(outcome_of(compare_with_published(records)), ExitCode::kOk);
  newer.provenance.erase("published");
  records.runs.push_back(newer);
  EXPECT_THAT(refusal_of(records), HasSubstr("no launch of these results has recorded one"));
}

TEST(Published, tables_have_a_line_for_what_is_published_what_is_here_and_the_differences) {
  const auto boards = compare_with_published(
      published_records(kToyTable + "percent,A_1,average,1,50.4,38,44.5,\"odd, but printed\"\n"
                                    "count,B,average,1,1,2,,\n"
                                    "percent,New,,1,75,60,67.5,\n"));
  EXPECT_EQ(markdown_published(boards).substr(0, markdown_published(boards).find("\n## How")),
            R"(# Published results

## Toys: toy, 2 experts

| Row                                       |               |    ant |   bee_fly | Average |
|:------------------------------------------|:--------------|-------:|----------:|--------:|
| A_1                                       | published     |   50.4 |        38 |    44.5 |
| average                                   | here          |  50.00 |     40.00 |   45.00 |
| outside tolerance                         | points        |  -0.40 | **+2.00** |   +0.50 |
| B                                         | published     |  25.00 |     40.00 |         |
| average                                   | here          |  50.00 |     40.00 |   45.00 |
| within tolerance                          | points        | +25.00 |      0.00 |         |
|                                           | right answers |     +1 |         0 |         |
| New                                       | published     |     75 |        60 |    67.5 |
| not run here: this program cannot make it |               |        |           |         |

- 3 published rows: 1 within tolerance, 1 outside, 0 incomplete, 1 not run here. Table: toys.csv.
- Here, but not published: adapt; individual; masks; scaled{scale=0.5}; scaled{scale=1}.
- From a page.
- A_1: odd, but printed.
)");
  const std::string csv = csv_published(boards);
  EXPECT_THAT(csv,
              HasSubstr("\ntoys.csv,toy,2,clean,B,average,ant,accuracy,25,50,25,1,1,1,right answers,true,"
                        "within tolerance,false,,\n"));
  EXPECT_THAT(csv, HasSubstr(",A_1,average,bee_fly,accuracy,38,40,"));
  const std::string latex = latex_published(boards);
  EXPECT_THAT(latex, HasSubstr("A\\_1 & published & 50.4 & 38 & 44.5 \\\\\n"));
  EXPECT_THAT(latex, HasSubstr("outside tolerance & points & -0.40 & \\textbf{+2.00} & +0.50 \\\\\n"));
  EXPECT_THAT(latex, Not(HasSubstr("‡")));
}

}  // namespace
}  // namespace fusegrid
