#include "report/published_table.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kTwoTasks =
    "# Two tasks\n"
    "# Source: a page.\n"
    "kind,row,cells,tolerance,ant,bee,average,note\n"
    "metric,,,,accuracy,spearman,,\n"
    "examples,,,,40,50,,\n"
    "tolerance,,,,0.5,1,0.25,\n";

PublishedTable read(const std::string& rows) {
  return parse_published_table(kTwoTasks + rows, "t.csv");
}

std::string refusal(const std::string& text) {
  try {
    parse_published_table(text, "t.csv");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "read";
}

TEST(PublishedTable, has_title_remarks_tasks_and_what_is_known_of_them) {
  const PublishedTable table = read("percent,A,average,,70,60,65,\n");
  EXPECT_EQ(table.title, "Two tasks");
  EXPECT_THAT(table.remarks, ElementsAre("Source: a page."));
  EXPECT_THAT(table.tasks, ElementsAre("ant", "bee"));
  EXPECT_THAT(table.metrics, ElementsAre("accuracy", "spearman"));
  EXPECT_EQ(table.examples[1], 50);
  EXPECT_FALSE(table.has_unseen);
}

TEST(PublishedTable, numbers_are_points_whatever_the_kind_of_row) {
  const auto rows = read(
                        "percent,A,average,,70.50,,,\n"
                        "fraction,B,average,,0.705,0.61,0.66,\n"
                        "count,C,average,3,30,61.5,,\n")
                        .rows;
  EXPECT_DOUBLE_EQ(rows[0].by_task[0]->points, 70.5);
  EXPECT_EQ(rows[0].by_task[0]->text, "70.50");
  EXPECT_FALSE(rows[0].by_task[1]);
  EXPECT_FALSE(rows[0].average);
  EXPECT_DOUBLE_EQ(rows[1].by_task[0]->points, 70.5);
  EXPECT_DOUBLE_EQ(rows[1].average->points, 66);
  EXPECT_DOUBLE_EQ(rows[2].by_task[0]->points, 75);
  EXPECT_EQ(rows[2].by_task[0]->right, 30);
  EXPECT_DOUBLE_EQ(rows[2].by_task[1]->points, 61.5);  // a correlation has no right answers
  EXPECT_FALSE(rows[2].by_task[1]->right);
}

TEST(PublishedTable, depths_and_angles_have_points_of_their_own) {
  const std::string head =
      "# Maps\n"
      "kind,row,cells,tolerance,depth,normal,average\n"
      "metric,,,,absolute_error,mean_angle,\n";
  const auto rows = parse_published_table(head +
                                              "percent,A,average,2,264.0,170,\n"
                                              "fraction,B,average,2,0.425,24.7,\n",
                                          "t.csv")
                        .rows;
  EXPECT_DOUBLE_EQ(rows[0].by_task[0]->points, 264);
  EXPECT_DOUBLE_EQ(rows[0].by_task[1]->points, 170);
  EXPECT_DOUBLE_EQ(rows[1].by_task[0]->points, 42.5);
  EXPECT_DOUBLE_EQ(rows[1].by_task[1]->points, 24.7);
  EXPECT_THAT(refusal(head + "percent,A,average,2,42,181,\n"),
              HasSubstr("'normal' must lie within 180 points"));
}

TEST(PublishedTable, a_tolerance_is_the_columns_or_the_rows_own) {
  const auto rows = read(
                        "percent,A,average,,70,60,65,\n"
                        "percent,B,average,2,70,60,65,\n"
                        "count,C,average,3,30,60,70,\n"
                        "count,D,average,,30,60,,\n")
                        .rows;
  EXPECT_EQ(rows[0].by_task[0]->tolerance, 0.5);
  EXPECT_EQ(rows[0].average->tolerance, 0.25);
  EXPECT_EQ(rows[1].by_task[0]->tolerance, 2);
  EXPECT_EQ(rows[2].by_task[0]->tolerance, 3);           // right answers
  EXPECT_EQ(rows[2].by_task[1]->tolerance, 1);           // points: the row's is of right answers
  EXPECT_EQ(rows[2].average->tolerance, 0.25);           // the same
  EXPECT_DOUBLE_EQ(rows[3].by_task[0]->tolerance, 0.2);  // 0.5 points of 40 examples
}

TEST(PublishedTable, fields_may_be_quoted) {
  const auto rows =
      read("percent,\"A, \"\"new\"\"\",\"ties{density=0.1,scale=0.2}\",,70,60,65,\"x, y\"\n").rows;
  EXPECT_EQ(rows[0].title, "A, \"new\"");
  EXPECT_EQ(rows[0].cells, "ties{density=0.1,scale=0.2}");
  EXPECT_EQ(rows[0].note, "x, y");
}

TEST(PublishedTable, rows_may_be_of_a_board_and_experts_may_have_seen_their_test_examples) {
  const PublishedTable table = parse_published_table(
      "# T\nkind,zoo,experts,shift,row,cells,tolerance,ant,bee,average,unseen\n"
      "metric,,,,,,,accuracy,accuracy,,\n"
      "test-trained,,,,,,,no,yes,,\n"
      "percent,z,2,blur-1,A,,1,70,60,70,60\n"
      "percent,y,2,blur-1,A,,1,70,60,70,60\n",
      "t.csv");
  EXPECT_TRUE(table.has_unseen);
  EXPECT_THAT(table.test_trained, ElementsAre(false, true));
  EXPECT_EQ(table.rows[0].zoo, "z");
  EXPECT_EQ(table.rows[0].experts, "2");
  EXPECT_EQ(table.rows[0].shift, "blur-1");
  EXPECT_EQ(table.rows[0].unseen->points, 60);
  EXPECT_FALSE(table.examples[0]);
}

TEST(PublishedTable, mistakes_are_refused_with_their_line) {
  const auto refused = [](const std::string& rows) { return refusal(kTwoTasks + rows); };
  EXPECT_THAT(refused("percent,A,x,,70,60\n"), HasSubstr("t.csv:7: a line must have 8 fields"));
  EXPECT_THAT(refused("percnt,A,x,,70,60,65,\n"),
              HasSubstr("no kind of line 'percnt'; did you mean 'percent'"));
  EXPECT_THAT(refused("percent,A,x,,7o,60,65,\n"), HasSubstr("t.csv:7: 'ant'"));
  EXPECT_THAT(refused("percent,A,x,,170,60,65,\n"),
              HasSubstr("'ant' must lie within 100 points, but it is 170"));
  EXPECT_THAT(refused("count,A,x,,41,60,65,\n"), HasSubstr("right answers of 40 examples, but it is 41"));
  EXPECT_THAT(refused("count,A,x,,30.5,60,65,\n"), HasSubstr("must be a whole number of right answers"));
  EXPECT_THAT(refused("percent,,x,,70,60,65,\n"), HasSubstr("must have a name in the column 'row'"));
  EXPECT_THAT(refused("percent,A,x,,,,,\n"), HasSubstr("the row 'A' must have a number"));
  EXPECT_THAT(refused("percent,A,x,-1,70,60,65,\n"), HasSubstr("a tolerance must be at least 0"));
  EXPECT_THAT(refused("percent,\"A,x,,70,60,65,\n"), HasSubstr("a quote is not closed"));
  EXPECT_THAT(refused("percent,A,x,,70,60,65,\npercent,A,y,,70,60,65,\n"), HasSubstr("is already in line 7"));
  EXPECT_THAT(refused("percent,A,x,,70,60,65,\nexamples,,,,4,5,,\n"), HasSubstr("stand above the rows"));
  EXPECT_THAT(refused("metric,,,,accuracy,accuracy,,\n"), HasSubstr("there is a line 'metric' already"));
  EXPECT_THAT(refused("percent,A,x,,70,60,65,\n# late\n"),
              HasSubstr("comments stand above the line of columns"));
  EXPECT_THAT(refused(""), HasSubstr("must have a row of the kind percent, fraction, count"));
}

TEST(PublishedTable, what_a_table_needs_is_named_where_it_is_missing) {
  EXPECT_THAT(refusal("# T\nkind,row,tolerance,ant,average\n"), HasSubstr("the column 'cells' is missing"));
  EXPECT_THAT(refusal("# T\nkind,row,cells,tolerance,average\n"), HasSubstr("a column for each task"));
  EXPECT_THAT(refusal("# T\nkind,row,cells,tolerance,ant,ant,average\n"), HasSubstr("a name of its own"));
  const std::string columns = "# T\nkind,row,cells,tolerance,ant,average\n";
  EXPECT_THAT(refusal(columns + "percent,A,x,1,70,65\n"), HasSubstr("must give the metric of 'ant'"));
  const std::string metric = columns + "metric,,,,accuracy,\n";
  EXPECT_THAT(refusal(metric + "percent,A,x,,70,65\n"), HasSubstr("'ant' needs a tolerance"));
  EXPECT_THAT(refusal(metric + "count,A,x,1,70,65\n"), HasSubstr("need the number of its test examples"));
  EXPECT_THAT(refusal(metric + "examples,,,,1.5,\n"), HasSubstr("a whole number of test examples"));
  EXPECT_THAT(refusal(metric + "test-trained,,,,maybe,\n"), HasSubstr("must be yes or no"));
  EXPECT_THAT(refusal("kind,row,cells,tolerance,ant,average\nmetric,,,,accuracy,\npercent,A,x,1,70,65\n"),
              HasSubstr("a comment that says what the table is"));
}

}  // namespace
}  // namespace fusegrid
