// Boards with tasks that no merged expert owns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/choice.h"
#include "report/layout.h"
#include "report/metric_fixture.h"
#include "report/writers.h"

namespace fusegrid {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

void say_owner(Records& records, const std::string& task, const std::string& owner,
               const std::string& experts = "2") {
  records.bindings[owner_binding("toy", experts, task)] = {owner, 0};
}

// "ant" and "bee" are seen, "bee_fly" is not. On validation scale=0.5 is best of the seen tasks, scale=1 of all.
Results grid_results() {
  Results results;
  const auto put_row = [&](const std::string& method, const std::string& parameters,
                           const std::vector<double>& validation, const std::vector<std::string>& outcomes) {
    const std::vector<std::string> tasks{"ant", "bee", "bee_fly"};
    for (size_t i = 0; i < outcomes.size(); ++i) {
      put(results, make_cell(method, parameters, tasks[i]), validation[i], outcomes[i]);
    }
  };
  put_row("average", "", {0.5, 0.5, 0.5}, {"1100", "1000", "1110"});
  put_row("scaled", "scale=0.5,mode=sum", {0.7, 0.7, 0.1}, {"1110", "1100", "1000"});
  put_row("scaled", "scale=1,mode=sum", {0.6, 0.7, 0.9}, {"1111", "1111", "1111"});
  put_row("masks", "", {0.8, 0.8}, {"1111", "1110"});
  put_row("individual", "", {0.9, 0.9}, {"1111", "1110"});
  return results;
}

Records grid_records(const Results& results = grid_results()) {
  Records records = toy_records(results);
  say_owner(records, "ant", "ant");
  say_owner(records, "bee", "bee");
  say_owner(records, "bee_fly", kNoOwner);
  return records;
}

Board grid_board(const Records& records = grid_records()) {
  return make_boards(records).at(0);
}

TEST(Unseen, tasks_have_an_average_of_their_own) {
  const Board board = grid_board();
  EXPECT_THAT(board.unseen, ElementsAre("bee_fly"));
  const Row& average = row_of(board, "average");
  EXPECT_DOUBLE_EQ(average.average.value.value(), (0.5 + 0.25) / 2);
  EXPECT_DOUBLE_EQ(average.unseen.value.value(), 0.75);
  EXPECT_DOUBLE_EQ(average.by_task.at(2).value(), 0.75);
  EXPECT_DOUBLE_EQ(average.normalised.value(), (0.5 / 1 + 0.25 / 0.75) / 2) << "of the seen ones";
  EXPECT_DOUBLE_EQ(average.setting.test_loss.value(), 0.5);
}

TEST(Unseen, tasks_take_no_part_in_the_choice_of_parameters) {
  EXPECT_EQ(row_of(grid_board(), "scaled").setting.parameters, "scale=0.5,mode=sum");
  Records all_seen = grid_records();
  say_owner(all_seen, "bee_fly", "bee");
  EXPECT_EQ(row_of(grid_board(all_seen), "scaled").setting.parameters, "scale=1,mode=sum")
      << "by a validation score that is not theirs to see";
}

TEST(Unseen, tasks_take_no_part_in_what_is_tested) {
  Records records = grid_records();
  for (auto& [name, result] : records.results) {
    std::erase_if(result.metrics, [](const Metric& metric) { return metric.split == "test"; });
    result.outcomes.clear();
  }
  EXPECT_THAT(chosen_untested_cells(records),
              Contains("toy/experts=2/scaled{scale=0.5}/seed=0/bee_fly@clean"));
  EXPECT_THAT(chosen_untested_cells(records), Not(Contains(HasSubstr("scale=1"))));
  EXPECT_THAT(chosen_untested_cells(records), Contains("toy/experts=2/masks/seed=0/bee@clean"))
      << "of a method without answers to unseen tasks";
}

TEST(Unseen, tasks_are_not_missed_where_the_method_is_told_the_task) {
  const Board board = grid_board();
  const Row& masks = row_of(board, "masks");
  EXPECT_DOUBLE_EQ(masks.average.value.value(), 0.875);
  EXPECT_THAT(masks.setting.gaps, IsEmpty());
  EXPECT_FALSE(masks.unseen.value);
  EXPECT_FALSE(masks.unseen.best);
  EXPECT_EQ(masks.rank, 1);

  Results results = grid_results();
  results.erase(make_cell("average", "", "bee_fly").name());
  const Board incomplete = grid_board(grid_records(results));
  const Row& average = row_of(incomplete, "average");
  EXPECT_EQ(average.setting.gaps.at(0).cell, "toy/experts=2/average/seed=0/bee_fly@clean");
  EXPECT_TRUE(average.average.value);
  EXPECT_FALSE(average.unseen.value);
  EXPECT_THAT(board_notes(incomplete), Contains(HasSubstr("without one of the averages: Average")));
}

TEST(Unseen, averages_have_intervals_a_best_row_and_ties) {
  const Board board = grid_board();
  const Row& average = row_of(board, "average");
  const Row& scaled = row_of(board, "scaled");
  EXPECT_TRUE(scaled.average.best);
  EXPECT_TRUE(average.average.tied);
  EXPECT_EQ(scaled.rank, 1);
  EXPECT_TRUE(average.unseen.best) << "a row may be best of one kind of task alone";
  EXPECT_TRUE(scaled.unseen.tied);
  EXPECT_EQ(average.rank, 2) << "by seen tasks";

  Results alone;
  put(alone, make_cell("average", "", "bee_fly"), 0.5, "1110");
  const Interval expected = row_of(make_boards(toy_records(alone)).at(0), "average").average.interval.value();
  EXPECT_EQ(average.unseen.interval->low, expected.low);
  EXPECT_EQ(average.unseen.interval->high, expected.high);
}

TEST(Unseen, averages_have_a_deviation_over_seeds) {
  Results results;
  for (const int64_t seed : {0, 1}) {
    put(results, make_cell("average", "", "ant", seed), 0.5, "1100");
    put(results, make_cell("average", "", "bee_fly", seed), 0.5, seed == 0 ? "1100" : "1111");
  }
  const Row row = row_of(grid_board(grid_records(results)), "average");
  EXPECT_DOUBLE_EQ(row.average.deviation.value(), 0);
  EXPECT_DOUBLE_EQ(row.unseen.deviation.value(), std::sqrt(0.125));
}

TEST(Unseen, tasks_without_an_own_score_have_no_relative_average) {
  Records records = mixed_records();
  say_owner(records, "cow", kNoOwner);
  EXPECT_TRUE(row_of(grid_board(records), "average").unseen.value)
      << "that of another board would do as well";
  std::erase_if(records.results,
                [](const auto& named) { return named.first == make_cell("individual", "", "cow").name(); });
  const Board board = grid_board(records);
  EXPECT_TRUE(row_of(board, "average").average.value);
  EXPECT_FALSE(row_of(board, "average").unseen.value);
  EXPECT_THAT(board.notes, Contains(HasSubstr("cow (seed 0): no averages over unseen tasks")));
}

// Models that were not made for any of the tasks.
TEST(Unseen, tasks_count_as_seen_where_none_is_owned) {
  Records records = grid_records();
  say_owner(records, "ant", kNoOwner);
  say_owner(records, "bee", kNoOwner);
  const Board board = grid_board(records);
  EXPECT_THAT(board.unseen, IsEmpty());
  EXPECT_DOUBLE_EQ(row_of(board, "average").average.value.value(), 0.5);
  EXPECT_THAT(board.notes, Contains(HasSubstr("No merged expert owns a task of this board")));
}

TEST(Unseen, tasks_are_those_of_the_merged_experts) {
  Records records = toy_records(grid_results());
  say_owner(records, "bee_fly", kNoOwner, "1");
  EXPECT_THAT(grid_board(records).unseen, IsEmpty()) << "another board's";
}

TEST(Unseen, columns_are_there_where_a_board_has_unseen_tasks) {
  const std::vector<Board> boards = make_boards(grid_records());
  EXPECT_THAT(markdown_report(boards, {}), HasSubstr("|      Seen |         95 % |    Unseen |"));
  EXPECT_THAT(markdown_report(boards, {}),
              HasSubstr("Unseen tasks, which no merged expert owns: bee_fly. The others are seen"));
  EXPECT_THAT(latex_report(boards, {}), HasSubstr("& Seen & 95\\,\\% & Unseen & 95\\,\\% & Norm. & Rank"));
  EXPECT_THAT(csv_report(boards),
              HasSubstr(",missing,unseen,unseen_deviation,unseen_low,unseen_high,unseen_best,unseen_tied,"));
  EXPECT_THAT(csv_settings(boards), HasSubstr(",missing,unseen\n"));
  const std::vector<Board> others = make_boards(toy_records(toy_results()));
  for (const std::string& text :
       {markdown_report(others, {}), latex_report(others, {}), csv_report(others), csv_settings(others)}) {
    EXPECT_THAT(text, Not(HasSubstr("nseen")));
  }
}

// A report may have boards of both kinds.
TEST(Unseen, columns_are_empty_on_boards_without_unseen_tasks) {
  Results results = grid_results();
  put(results, make_cell("individual", "", "ant", 0, "3"), 0.9, "1111");
  const std::string csv = csv_report(make_boards(grid_records(results)));
  EXPECT_THAT(csv, HasSubstr("toy,3,clean,reference,,individual"));
  EXPECT_THAT(csv.substr(csv.find("toy,3,")), HasSubstr(",,,,,,,1,,\n"));
}

}  // namespace
}  // namespace fusegrid
