#include "report/board.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "report/metric_fixture.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Board only_board(const Results& results) {
  const auto boards = make_boards(toy_records(results));
  EXPECT_THAT(boards, SizeIs(1));
  return boards.at(0);
}

std::vector<std::string> methods_of(const Board& board) {
  std::vector<std::string> names;
  for (const Row& row : board.rows) {
    names.push_back(row.setting.method);
  }
  return names;
}

// Random outcomes of `examples` examples, the same ones for the same stream.
std::string random_bits(uint64_t stream, size_t examples, double probability) {
  std::string text;
  for (size_t e = 0; e < examples; ++e) {
    text += philox(7, stream, e)[0] * 0x1p-32 < probability ? '1' : '0';
  }
  return text;
}

TEST(Board, has_the_averages_of_its_cells) {
  const Board board = only_board(toy_results());
  EXPECT_THAT(board.tasks, ElementsAre("ant", "bee_fly"));
  EXPECT_THAT(board.examples, ElementsAre(4, 5));
  const Row& average = row_of(board, "average");
  EXPECT_DOUBLE_EQ(average.by_task[0].value(), 0.5);
  EXPECT_DOUBLE_EQ(average.by_task[1].value(), 0.4);
  EXPECT_DOUBLE_EQ(average.average.value.value(), 0.45);
  EXPECT_DOUBLE_EQ(average.normalised.value(), (0.5 / 1 + 0.4 / 0.8) / 2);
  EXPECT_DOUBLE_EQ(row_of(board, "individual").normalised.value(), 1);
  EXPECT_DOUBLE_EQ(average.setting.test_loss.value(), 0.5);
  EXPECT_FALSE(average.average.deviation);
}

TEST(Board, sorts_by_group_then_average_with_incomplete_rows_last) {
  const Board board = only_board(toy_results());
  EXPECT_THAT(methods_of(board), ElementsAre("scaled", "average", "adapt", "masks", "individual"));
}

TEST(Board, ranks_within_groups_and_leaves_references_out) {
  const Board board = only_board(toy_results());
  EXPECT_EQ(row_of(board, "scaled").rank, 1);
  EXPECT_EQ(row_of(board, "average").rank, 2);
  EXPECT_EQ(row_of(board, "masks").rank, 1);
  EXPECT_FALSE(row_of(board, "adapt").rank);
  EXPECT_FALSE(row_of(board, "individual").rank);
  EXPECT_FALSE(row_of(board, "individual").average.best);
}

TEST(Board, equal_averages_share_the_better_rank) {
  Results results;
  for (const std::string method : {"average", "fisher"}) {
    put(results, make_cell(method, "", "ant"), 0.5, "1110");
  }
  put(results, make_cell("adapt", "", "ant"), 0.5, "1000");
  const Board board = only_board(results);
  EXPECT_EQ(row_of(board, "average").rank, 1);
  EXPECT_EQ(row_of(board, "fisher").rank, 1);
  EXPECT_EQ(row_of(board, "adapt").rank, 3);
}

TEST(Board, counts_stored_parameters_in_models_and_takes_a_merges_longest_time) {
  const Board board = only_board(toy_results());
  EXPECT_DOUBLE_EQ(row_of(board, "average").stored_models.value(), 1);
  EXPECT_DOUBLE_EQ(row_of(board, "masks").stored_models.value(), 2.25);
  EXPECT_DOUBLE_EQ(row_of(board, "individual").stored_models.value(), 2);
  EXPECT_DOUBLE_EQ(row_of(board, "masks").setting.merge_seconds.value(), 0.25);
}

TEST(Choice, looks_at_validation_and_never_at_test) {
  const Board board = only_board(toy_results());
  const Row& scaled = row_of(board, "scaled");
  EXPECT_EQ(scaled.setting.parameters, "scale=0.5,mode=sum");
  EXPECT_DOUBLE_EQ(scaled.average.value.value(), (0.75 + 0.6) / 2);
  EXPECT_EQ(scaled.tried, 2);
  EXPECT_THAT(scaled.tuned, ElementsAre("scale"));
}

TEST(Choice, takes_the_first_of_equals) {
  Results results;
  put(results, make_cell("scaled", "scale=0.7", "ant"), 0.6, "0001");
  put(results, make_cell("scaled", "scale=0.6", "ant"), 0.6, "0000");
  EXPECT_EQ(row_of(only_board(results), "scaled").setting.parameters, "scale=0.6,mode=sum");
}

TEST(Choice, is_one_setting_for_all_seeds_by_the_mean_over_them) {
  Results results;  // each setting wins one seed; 0.1 wins the mean
  put(results, make_cell("scaled", "scale=0.1", "ant", 0), 0.9, "1100");
  put(results, make_cell("scaled", "scale=0.2", "ant", 0), 0.6, "1111");
  put(results, make_cell("scaled", "scale=0.1", "ant", 1), 0.6, "1110");
  put(results, make_cell("scaled", "scale=0.2", "ant", 1), 0.7, "1111");
  EXPECT_EQ(row_of(only_board(results), "scaled").setting.parameters, "scale=0.1,mode=sum");
}

TEST(Choice, leaves_incomplete_settings_out_and_says_so) {
  Results results = toy_results();
  Result& better = results.at(make_cell("scaled", "scale=0.5,mode=sum", "ant").name());
  better.status = Status::kInvalid;
  better.reason = "NaN";
  const Board board = only_board(results);
  EXPECT_EQ(row_of(board, "scaled").setting.parameters, "scale=1,mode=sum");
  EXPECT_THAT(board.notes, testing::Contains(HasSubstr("Scaled & Sons: 1 of 2 settings")));
}

TEST(Choice, without_validation_accuracy_is_not_made) {
  Results results;
  for (const std::string scale : {"scale=0.1", "scale=0.2"}) {
    put(results, make_cell("scaled", scale, "ant"), 0.6, "1100");
    results.at(make_cell("scaled", scale, "ant").name())
        .metrics.erase(results.at(make_cell("scaled", scale, "ant").name()).metrics.begin());
  }
  const Row row = row_of(only_board(results), "scaled");
  EXPECT_FALSE(row.average.value);
  EXPECT_THAT(row.setting.gaps.at(0).reason, HasSubstr("no validation accuracy"));

  results.erase(make_cell("scaled", "scale=0.2", "ant").name());
  EXPECT_DOUBLE_EQ(row_of(only_board(results), "scaled").average.value.value(), 0.5);
}

TEST(Incomplete, rows_have_no_average_and_tell_why) {
  const Board board = only_board(toy_results());
  const Row& adapt = row_of(board, "adapt");
  EXPECT_DOUBLE_EQ(adapt.by_task[0].value(), 0.5);
  EXPECT_FALSE(adapt.by_task[1]);
  EXPECT_FALSE(adapt.average.value);
  EXPECT_FALSE(adapt.average.interval);
  EXPECT_FALSE(adapt.normalised);
  ASSERT_THAT(adapt.setting.gaps, SizeIs(1));
  EXPECT_EQ(adapt.setting.gaps[0].cell, "toy/experts=2/adapt/seed=0/bee_fly@clean");
  EXPECT_THAT(adapt.setting.gaps[0].reason, HasSubstr("failed: signal 11"));
}

TEST(Incomplete, cells_that_were_never_recorded_count_as_missing) {
  Results results = toy_results();
  results.erase(make_cell("average", "", "bee_fly").name());
  const Row average = row_of(only_board(results), "average");
  EXPECT_FALSE(average.average.value);
  EXPECT_EQ(average.setting.gaps.at(0).reason, "not recorded");
}

TEST(Incomplete, invalid_cells_and_nan_are_not_averaged) {
  Results results = toy_results();
  results.at(make_cell("average", "", "ant").name()).metrics[1].value = std::nan("");
  results.at(make_cell("masks", "", "ant").name()).status = Status::kInvalid;
  const Board board = only_board(results);
  EXPECT_FALSE(row_of(board, "average").average.value);
  EXPECT_FALSE(row_of(board, "masks").average.value);
}

TEST(Incomplete, individual_leaves_the_normalised_average_absent) {
  Results results = toy_results();
  results.erase(make_cell("individual", "", "ant").name());
  EXPECT_FALSE(row_of(only_board(results), "average").normalised);
}

TEST(Seeds, are_averaged_with_their_deviation) {
  Results results;
  for (const auto& [seed, average, individual] :
       {std::tuple{0, "1000", "1100"}, {1, "1100", "1111"}, {2, "1110", "1111"}}) {
    put(results, make_cell("average", "", "ant", seed), 0.5, average);
    put(results, make_cell("individual", "", "ant", seed), 0.5, individual);
  }
  const Row row = row_of(only_board(results), "average");
  EXPECT_DOUBLE_EQ(row.average.value.value(), 0.5);
  EXPECT_DOUBLE_EQ(row.average.deviation.value(), 0.25);  // of 0.25, 0.5, 0.75
  EXPECT_DOUBLE_EQ(row.normalised.value(), (0.25 / 0.5 + 0.5 + 0.75) / 3);
}

TEST(Seeds, share_the_resample_so_that_equal_replicates_do_not_narrow_the_interval) {
  Results one;
  Results three;
  const std::string outcomes = random_bits(1, 200, 0.6);
  put(one, make_cell("average", "", "ant", 0), 0.5, outcomes);
  for (int64_t seed = 0; seed < 3; ++seed) {
    put(three, make_cell("average", "", "ant", seed), 0.5, outcomes);
  }
  const Interval narrow = row_of(only_board(one), "average").average.interval.value();
  const Interval same = row_of(only_board(three), "average").average.interval.value();
  EXPECT_NEAR(narrow.low, same.low, 1e-12);
  EXPECT_NEAR(narrow.high, same.high, 1e-12);
}

TEST(Ties, are_rows_whose_paired_difference_may_be_zero) {
  Results results;
  std::string best = random_bits(1, 400, 0.7);
  std::string close = best;  // wrong on 2 more, right on 1 more
  close[best.find('1')] = '0';
  close[best.rfind('1')] = '0';
  close[best.find('0')] = '1';
  std::string far = best;  // wrong on 40 more
  for (int flips = 0; flips < 40; ++flips) {
    far[far.find('1')] = '0';
  }
  put(results, make_cell("average", "", "ant"), 0.5, best);
  put(results, make_cell("fisher", "", "ant"), 0.5, close);
  put(results, make_cell("adapt", "", "ant"), 0.5, far);
  put(results, make_cell("masks", "", "ant"), 0.5, best);
  const Board board = only_board(results);
  EXPECT_TRUE(row_of(board, "average").average.best);
  EXPECT_FALSE(row_of(board, "average").average.tied);
  EXPECT_TRUE(row_of(board, "fisher").average.tied);
  EXPECT_FALSE(row_of(board, "adapt").average.tied);
  EXPECT_TRUE(row_of(board, "masks").average.best) << "the best of its own group";
  // pairing matters: the intervals of the averages alone overlap
  EXPECT_GT(row_of(board, "adapt").average.interval->high,
            row_of(board, "average").average.interval->low - 0.05);
}

TEST(Intervals, need_outcomes_that_give_the_accuracy) {
  Results results = toy_results();
  results.at(make_cell("average", "", "ant").name()).outcomes[0].rows[0] = 0;
  const Board board = only_board(results);
  EXPECT_FALSE(row_of(board, "average").average.interval);
  EXPECT_TRUE(row_of(board, "average").average.value);
  EXPECT_TRUE(row_of(board, "scaled").average.interval);
  EXPECT_THAT(board.notes, testing::Contains(HasSubstr("Average: no interval")));
}

TEST(Intervals, draw_groups_so_that_copies_of_examples_do_not_narrow_them) {
  const std::string once = random_bits(1, 60, 0.6);
  std::string copies;
  std::vector<uint32_t> groups;
  for (size_t e = 0; e < once.size(); ++e) {
    copies += std::string(10, once[e]);
    groups.insert(groups.end(), 10, static_cast<uint32_t>(100 + e));
  }
  Results single;
  Results tenfold;
  put(single, make_cell("average", "", "ant"), 0.5, once);
  put(tenfold, make_cell("average", "", "ant"), 0.5, copies);
  Records grouped = toy_records(tenfold);
  put_groups(grouped, "ant", groups);
  const Interval truth = row_of(make_boards(toy_records(single)).at(0), "average").average.interval.value();
  const Interval same = row_of(make_boards(grouped).at(0), "average").average.interval.value();
  const Interval narrow = row_of(make_boards(toy_records(tenfold)).at(0), "average").average.interval.value();
  EXPECT_NEAR(same.low, truth.low, 1e-12);
  EXPECT_NEAR(same.high, truth.high, 1e-12);
  EXPECT_LT(narrow.high - narrow.low, (truth.high - truth.low) / 2);
  EXPECT_THAT(make_boards(grouped).at(0).groups, ElementsAre(60));
}

TEST(Edges, are_chosen_values_at_the_end_of_what_was_tried) {
  Results results;
  for (const auto& [scale, validation] :
       {std::pair{"scale=0.1", 0.5}, {"scale=0.2", 0.6}, {"scale=0.3", 0.7}}) {
    put(results, make_cell("scaled", scale, "ant"), validation, "1100");
  }
  EXPECT_THAT(row_of(only_board(results), "scaled").at_edge, ElementsAre("scale=0.3"));
  put(results, make_cell("scaled", "scale=0.4", "ant"), 0.1, "1100");
  EXPECT_THAT(row_of(only_board(results), "scaled").at_edge, testing::IsEmpty());
}

TEST(Edges, are_nothing_where_two_values_were_tried) {
  EXPECT_THAT(row_of(only_board(toy_results()), "scaled").at_edge, testing::IsEmpty());
}

TEST(Seeds, of_one_set_of_models_have_no_deviation) {
  Results results;
  put(results, make_cell("average", "", "ant", 0), 0.5, "1000");
  put(results, make_cell("average", "", "ant", 1), 0.5, "1100");
  Records records = toy_records(results);
  records.bindings["toy/0/base"] = {"a", 0};
  EXPECT_TRUE(make_boards(records).at(0).same_models) << "one replicate serves both seeds";
  EXPECT_FALSE(row_of(make_boards(records).at(0), "average").average.deviation);
  records.bindings["toy/1/base"] = {"b", 0};
  EXPECT_FALSE(make_boards(records).at(0).same_models);
  EXPECT_TRUE(row_of(make_boards(records).at(0), "average").average.deviation);
}

TEST(Intervals, are_the_same_whichever_other_rows_there_are) {
  Results results = toy_results();
  const Interval before = row_of(only_board(results), "scaled").average.interval.value();
  results.erase(make_cell("average", "", "ant").name());
  results.erase(make_cell("average", "", "bee_fly").name());
  const Interval after = row_of(only_board(results), "scaled").average.interval.value();
  EXPECT_EQ(before.low, after.low);
  EXPECT_EQ(before.high, after.high);
}

TEST(Boards, are_separate_for_zoo_experts_and_shift_in_natural_order) {
  Results results;
  for (const std::string experts : {"10", "9", "ant+bee"}) {
    put(results, make_cell("average", "", "ant", 0, experts), 0.5, "1100");
  }
  Cell shifted = make_cell("average", "", "ant", 0, "9");
  shifted.shift = "blur-3";
  put(results, shifted, 0.5, "1000");
  std::vector<std::string> titles;
  for (const Board& board : make_boards(toy_records(results))) {
    titles.push_back(board.experts + "@" + board.shift);
  }
  EXPECT_THAT(titles, ElementsAre("9@clean", "9@blur-3", "10@clean", "ant+bee@clean"));
}

TEST(Boards, refuse_methods_that_are_not_described) {
  Results results;
  put(results, make_cell("brand_new", "", "ant"), 0.5, "1100");
  EXPECT_THROW(make_boards(toy_records(results)), DataError);
}

TEST(Boards, refuse_names_that_are_not_cells) {
  EXPECT_THROW(make_boards(toy_records({{"expert/ant", Result{}}})), ConfigError);
}

TEST(Scalings, put_averages_against_the_number_of_experts) {
  Results results;
  put(results, make_cell("average", "", "ant", 0, "2"), 0.5, "1110");
  put(results, make_cell("average", "", "ant", 0, "10"), 0.5, "1000");
  put(results, make_cell("fisher", "", "ant", 0, "10"), 0.5, "1100");
  put(results, make_cell("average", "", "ant", 0, "ant+bee"), 0.5, "1100");
  const auto scalings = make_scalings(make_boards(toy_records(results)));
  ASSERT_THAT(scalings, SizeIs(1));
  EXPECT_THAT(scalings[0].experts, ElementsAre(2, 10));
  ASSERT_THAT(scalings[0].lines, SizeIs(2));
  EXPECT_EQ(scalings[0].lines[0].title, "Fisher");
  EXPECT_THAT(scalings[0].lines[0].average, ElementsAre(std::nullopt, std::optional(0.5)));
  EXPECT_THAT(scalings[0].lines[1].average, ElementsAre(std::optional(0.75), std::optional(0.25)));
}

TEST(Boards, of_a_metric_whose_lower_side_is_better_are_the_other_way_round) {
  Records records = records_of({{"cow", "loss"}});
  put_numbers(records, make_cell("average", "", "cow"), 0.5, {2, 2, 2.5});
  put_numbers(records, make_cell("fisher", "", "cow"), 0.5, {1, 1, 1});
  put_numbers(records, make_cell("adapt", "", "cow"), 0.5, {1.5, 0.5, 1.25});
  put_value(records, make_cell("masks", "", "cow"), 0.5, std::nan(""));
  put_numbers(records, make_cell("individual", "", "cow"), 0.5, {0.5, 0.5, 0.5});
  const Board board = make_boards(records).at(0);
  EXPECT_EQ(board.score.name, "loss");
  EXPECT_THAT(methods_of(board), ElementsAre("fisher", "adapt", "average", "masks", "individual"));
  EXPECT_EQ(row_of(board, "fisher").rank, 1);
  EXPECT_EQ(row_of(board, "adapt").rank, 2);
  EXPECT_EQ(row_of(board, "average").rank, 3);
  EXPECT_FALSE(row_of(board, "masks").rank);
  EXPECT_TRUE(row_of(board, "fisher").average.best);
  EXPECT_TRUE(row_of(board, "adapt").average.tied) << "better on one of three examples";
  EXPECT_FALSE(row_of(board, "average").average.tied) << "worse by 1 or more on each";
  EXPECT_DOUBLE_EQ(row_of(board, "fisher").average.value.value(), 1);
  EXPECT_DOUBLE_EQ(row_of(board, "fisher").normalised.value(), 0);  // 1 - (1 - 0.5) / 0.5
}

TEST(Boards, of_tasks_with_different_metrics_have_the_mean_of_relative_scores) {
  const Board board = make_boards(mixed_records()).at(0);
  EXPECT_TRUE(board.score.relative);
  const Row& average = row_of(board, "average");
  EXPECT_DOUBLE_EQ(average.by_task[0].value(), 0.5);
  EXPECT_DOUBLE_EQ(average.by_task[1].value(), 1.0 / 3);  // of each class two of three right
  EXPECT_DOUBLE_EQ(average.by_task[2].value(), 2);
  // the own experts have 1, 1 and 1
  EXPECT_DOUBLE_EQ(average.average.value.value(), (0.5 + 1.0 / 3 + (1 - (2 - 1.0) / 1)) / 3);
  EXPECT_EQ(average.normalised, average.average.value);
  EXPECT_DOUBLE_EQ(row_of(board, "individual").average.value.value(), 1);
  EXPECT_EQ(row_of(board, "scaled").setting.parameters, "scale=0.5,mode=sum");
  EXPECT_EQ(row_of(board, "scaled").rank, 1);
  EXPECT_EQ(average.rank, 2);
}

TEST(Seeds, of_relative_scores_have_the_deviation_of_these) {
  Records records = records_of({{"ant", "accuracy"}, {"cow", "loss"}});
  for (const int64_t seed : {0, 1}) {
    const double own = seed == 0 ? 0.5 : 0.8;
    for (const std::string task : {"ant", "cow"}) {
      put_value(records, make_cell("individual", "", task, seed), 0.5, own);
      put_value(records, make_cell("average", "", task, seed), 0.5, 0.4);
    }
  }
  const Row row = row_of(make_boards(records).at(0), "average");
  const double first = (0.4 / 0.5 + (1 + 0.1 / 0.5)) / 2;
  const double second = (0.4 / 0.8 + (1 + 0.4 / 0.8)) / 2;
  EXPECT_NEAR(row.average.value.value(), (first + second) / 2, 1e-15);
  EXPECT_NEAR(row.average.deviation.value(), std::abs(first - second) / std::sqrt(2), 1e-15);
}

TEST(Boards, refuse_tasks_that_are_not_described) {
  Records records = toy_records({});
  put_value(records, make_cell("average", "", "ant"), 0.5, 0.5);
  records.tasks.clear();
  EXPECT_THROW(make_boards(records), DataError);
}

TEST(Scalings, are_of_one_score_each) {
  Records records = mixed_records();
  put_value(records, make_cell("average", "", "ant", 0, "1"), 0.5, 0.75);
  for (const std::string task : {"ant", "bee_fly", "cow"}) {
    put_value(records, make_cell("average", "", task, 0, "3"), 0.5, 0.5);
  }
  const auto scalings = make_scalings(make_boards(records));
  ASSERT_THAT(scalings, SizeIs(1)) << "an accuracy and two relative scores";
  EXPECT_TRUE(scalings[0].score.relative);
  EXPECT_THAT(scalings[0].experts, ElementsAre(2, 3));
  const auto average = std::find_if(scalings[0].lines.begin(), scalings[0].lines.end(),
                                    [](const Scaling::Line& line) { return line.title == "Average"; });
  ASSERT_NE(average, scalings[0].lines.end());
  EXPECT_DOUBLE_EQ(average->average[1].value(), (0.5 + 0.5 + 1.5) / 3);
}

TEST(Scalings, need_two_numbers_of_experts) {
  EXPECT_TRUE(make_scalings(make_boards(toy_records(toy_results()))).empty());
}

}  // namespace
}  // namespace fusegrid
