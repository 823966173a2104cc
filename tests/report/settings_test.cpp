#include "report/settings.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/metric_fixture.h"

namespace fusegrid {
namespace {

using testing::Contains;
using testing::HasSubstr;

Board first_board(const Records& records) {
  return make_boards(records).at(0);
}

TEST(Choice, takes_the_lowest_validation_loss) {
  Records records = records_of({{"cow", "loss"}});
  put_value(records, make_cell("scaled", "scale=0.1", "cow"), 0.9, 0.1);
  put_value(records, make_cell("scaled", "scale=0.2", "cow"), 0.4, 0.8);
  put_value(records, make_cell("scaled", "scale=0.3", "cow"), 0.5, 0.2);
  const Row row = row_of(first_board(records), "scaled");
  EXPECT_EQ(row.setting.parameters, "scale=0.2,mode=sum");
  EXPECT_DOUBLE_EQ(row.average.value.value(), 0.8);
}

// What a method peeks at is no parameter that validation may choose.
TEST(Choice, is_apart_for_calls_that_see_other_data) {
  Records records = records_of({{"cow", "loss"}});
  records.methods["scaled{data=val}"] = {
      "scaled{data=val}", "Scaled (data=val)", "-", "", "labels", "", false};
  put_value(records, make_cell("scaled", "data=val,scale=0.1", "cow"), 0.9, 0.7);
  put_value(records, make_cell("scaled", "data=val,scale=0.2", "cow"), 0.8, 0.6);
  put_value(records, make_cell("scaled", "scale=0.1", "cow"), 0.2, 0.1);
  put_value(records, make_cell("scaled", "scale=0.3", "cow"), 0.1, 0.3);
  const Board board = first_board(records);
  EXPECT_EQ(row_of(board, "scaled").setting.parameters, "scale=0.3,mode=sum");
  const Row other = row_of(board, "scaled{data=val}");
  EXPECT_EQ(other.setting.parameters, "data=val,scale=0.2,mode=sum");
  EXPECT_EQ(other.method.data, "labels");
  EXPECT_EQ(other.tried, 2);
  EXPECT_EQ(other.tuned, std::vector<std::string>{"scale"});
}

TEST(Choice, among_different_metrics_is_by_the_relative_validation_score) {
  Records records = records_of({{"ant", "accuracy"}, {"cow", "loss"}});
  put_value(records, make_cell("individual", "", "ant"), 0.8, 0.9);
  put_value(records, make_cell("individual", "", "cow"), 0.1, 0.2);
  // .1 wins in accuracy by .2 of .8, but has twice the expert's loss; the sum of both numbers would have it
  put_value(records, make_cell("scaled", "scale=0.1", "ant"), 0.8, 0.9);
  put_value(records, make_cell("scaled", "scale=0.1", "cow"), 0.2, 0.4);
  put_value(records, make_cell("scaled", "scale=0.2", "ant"), 0.64, 0.72);
  put_value(records, make_cell("scaled", "scale=0.2", "cow"), 0.1, 0.2);
  const Row row = row_of(first_board(records), "scaled");
  EXPECT_EQ(row.setting.parameters, "scale=0.2,mode=sum");
  EXPECT_DOUBLE_EQ(row.setting.validation_score.value(), (0.8 + 1) / 2);
  EXPECT_DOUBLE_EQ(row.average.value.value(), (0.8 + 1) / 2);
}

TEST(Choice, is_not_made_where_nothing_makes_validation_scores_comparable) {
  Records records = mixed_records(false);
  const Row row = row_of(first_board(records), "scaled");
  EXPECT_FALSE(row.average.value);
  EXPECT_THAT(row.setting.gaps.at(0).reason, HasSubstr("no validation relative score"));
}

TEST(Gaps, say_where_a_metric_is_undefined) {
  Records records = records_of({{"bee_fly", "mcc"}});
  put_labels(records, "bee_fly", {1, 1, 1});
  put_classes(records, make_cell("average", "", "bee_fly"), 0.5, {1, 1, 0});
  const Row row = row_of(first_board(records), "average");
  EXPECT_FALSE(row.average.value);
  EXPECT_EQ(row.setting.gaps.at(0).reason, "its test mcc is undefined: all labels are of one class");
}

TEST(Gaps, name_the_metric_that_is_missing_or_not_finite) {
  Records records = records_of({{"bee_fly", "mcc"}, {"cow", "loss"}});
  put_value(records, make_cell("average", "", "bee_fly"), 0.5, 0.5).metrics.pop_back();
  put_value(records, make_cell("average", "", "cow"), 0.5, std::nan(""));
  const Row row = row_of(first_board(records), "average");
  EXPECT_EQ(row.setting.gaps.at(0).reason, "its result has no test mcc");
  EXPECT_EQ(row.setting.gaps.at(1).reason, "its result has no test loss");
}

TEST(OwnScores, are_those_of_the_zoo_where_the_board_has_none) {
  Records records = records_of({{"ant", "accuracy"}, {"cow", "loss"}});
  for (const std::string task : {"ant", "cow"}) {
    put_value(records, make_cell("average", "", task, 0, "ant+cow"), 0.4, 0.4);
    put_value(records, make_cell("individual", "", task, 0, "8"), 0.8, 0.5);
  }
  const std::vector<Board> boards = make_boards(records);
  ASSERT_EQ(boards.at(1).experts, "ant+cow");
  EXPECT_DOUBLE_EQ(row_of(boards[1], "average").average.value.value(), (0.4 / 0.5 + (1 + 0.1 / 0.5)) / 2);
}

TEST(OwnScores, are_those_of_the_board_with_the_most_experts) {
  Records records = records_of({{"ant", "accuracy"}});
  for (const auto& [experts, own] : {std::pair{"2", 0.5}, {"10", 0.8}, {"9", 0.6}}) {
    put_value(records, make_cell("average", "", "ant", 0, experts), 0.4, 0.4);
    put_value(records, make_cell("individual", "", "ant", 0, experts), 0.9, own);
  }
  for (const Board& board : make_boards(records)) {
    EXPECT_DOUBLE_EQ(row_of(board, "average").normalised.value(), 0.4 / 0.8) << board.experts;
  }
}

TEST(OwnScores, are_of_the_same_shift_and_seed_and_valid) {
  Records records = records_of({{"ant", "accuracy"}});
  put_value(records, make_cell("average", "", "ant"), 0.4, 0.4);
  Cell shifted = make_cell("individual", "", "ant", 0, "8");
  shifted.shift = "blur-3";
  put_value(records, shifted, 0.9, 0.9);
  put_value(records, make_cell("individual", "", "ant", 1, "8"), 0.9, 0.9);
  Result& invalid = put_value(records, make_cell("individual", "", "ant", 0, "9"), 0.9, 0.9);
  invalid.status = Status::kInvalid;
  EXPECT_FALSE(row_of(first_board(records), "average").normalised);
  invalid.status = Status::kValid;
  EXPECT_TRUE(row_of(first_board(records), "average").normalised);
}

TEST(OwnScores, that_are_missing_leave_boards_of_different_metrics_without_scores) {
  const Board board = first_board(mixed_records(false));
  for (const Row& row : board.rows) {
    EXPECT_FALSE(row.average.value) << row.setting.method;
    EXPECT_FALSE(row.rank);
    EXPECT_FALSE(row.average.best);
    EXPECT_TRUE(row.by_task[0]) << "tasks are shown";
  }
  EXPECT_THAT(board.notes,
              Contains(HasSubstr("not recorded for ant (seed 0), bee_fly (seed 0), cow (seed 0): no "
                                 "relative scores, hence no ranks")));
}

TEST(OwnScores, too_near_zero_are_no_unit) {
  Records records = mixed_records();
  put_value(records, make_cell("individual", "", "cow"), 0.5, 0.004);
  const Board board = first_board(records);
  EXPECT_FALSE(row_of(board, "average").average.value);
  EXPECT_FALSE(row_of(board, "average").rank);
  EXPECT_THAT(board.notes, Contains(HasSubstr("too near 0 to measure others by: cow (seed 0) loss 0.004")));
  put_value(records, make_cell("individual", "", "cow"), 0.5, 0.02);
  EXPECT_TRUE(row_of(first_board(records), "average").average.value);
}

TEST(OwnScores, too_near_zero_leave_one_metric_without_its_normalised_average_alone) {
  Records records = records_of({{"bee_fly", "mcc"}});
  put_value(records, make_cell("average", "", "bee_fly"), 0.5, 0.5);
  put_value(records, make_cell("individual", "", "bee_fly"), 0.5, -0.001);
  const Board board = first_board(records);
  EXPECT_EQ(row_of(board, "average").rank, 1);
  EXPECT_FALSE(row_of(board, "average").normalised);
  EXPECT_THAT(board.notes, Contains(HasSubstr("bee_fly (seed 0) mcc -0.001: no normalised averages")));
}

}  // namespace
}  // namespace fusegrid
