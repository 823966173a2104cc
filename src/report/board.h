// The numbers of a leaderboard, as a pure function of the recorded results. docs/metrics.md derives each of
// them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "report/interval.h"
#include "report/rank_statistics.h"
#include "report/score.h"
#include "store/records.h"

namespace fusegrid {

// A cell that a number would need and that has no usable value.
struct Gap {
  std::string cell;
  std::string reason;  // "failed: ...", "invalid: ...", "not recorded"
};

// One parameter setting of a method on a board. Scores (report/score.h) and losses are means over seen tasks and seeds,
// absent where a cell of theirs is: a task is never skipped.
struct Setting {
  std::string method;      // name of its MethodRecord
  std::string parameters;  // all of them, as canonical text
  std::string named;       // those that differ from their defaults, as they stand in the cells' names
  bool chosen = false;
  bool untested =
      false;  // validated in all cells and tested in none, as `test = chosen` leaves what it did not choose
  std::optional<double> validation_score;
  std::optional<double> test_score;
  std::optional<double> validation_loss;
  std::optional<double> test_loss;
  std::optional<double> unseen_score;  // as test_score, over the unseen tasks
  std::optional<double> stored_parameters;
  std::optional<double> merge_seconds;     // mean over seeds, as are the next two
  std::optional<double> merge_operations;  // those of core/operation_count.h
  std::optional<double> merge_peak_bytes;
  std::optional<double> evaluate_seconds;  // mean over cells: validation and test of one task
  std::vector<Gap> gaps;
};

// Rows are compared (best, tied, rank) within their group only.
enum class RowGroup { kTaskUnknown, kTaskKnown, kReference };

// Of a row, over some tasks of its board.
struct Average {
  std::optional<double> value;       // mean over tasks and seeds of the score
  std::optional<double> deviation;   // over seeds (n - 1)
  std::optional<Interval> interval;  // 95 %
  bool best = false;                 // of its group
  bool tied = false;                 // not the best, but its difference to the best may be 0
};

// One method at its chosen setting.
struct Row {
  MethodRecord method;
  RowGroup group = RowGroup::kTaskUnknown;
  Setting setting;
  int64_t tried = 0;                  // settings of the method on this board
  std::vector<std::string> tuned;     // names of the parameters that differ among them
  std::vector<std::string> at_edge;   // "scale=0.6": the largest or smallest of the values tried
  std::optional<double> at_defaults;  // test score of the setting that names no parameter, where it was tried
  std::optional<double> best_on_test;  // of those tried: what a choice that looks at test data would report
  std::vector<std::optional<double>> by_task;  // [tasks]: the task's metric, mean over seeds
  Average average;                             // over the seen tasks: all, where the board has no others
  Average unseen;                              // over the others
  std::optional<double> normalised;            // mean over seen tasks and seeds of relative_score()
  std::optional<int64_t> rank;                 // within the group, by average; equal averages share the best
  std::optional<double> average_rank;   // within the group, mean over the seen tasks of the rank by task
  std::optional<double> stored_models;  // stored parameters in units of one model of the zoo
};

// How two orders of the rows of a group agree, by Kendall's tau, over several pairs of orders.
struct Agreement {
  double mean = 0;
  double lowest = 0;
  std::string where;  // the pair that agrees least: a task, or two seeds
};

// How firm the order of a group's rows is, of those that have an average.
struct GroupRanking {
  RowGroup group = RowGroup::kTaskUnknown;
  int64_t rows = 0;
  RankComparison ranks = {};            // over the seen tasks
  std::optional<Agreement> tasks = {};  // of the order on a task with that of the board
  std::optional<Agreement> seeds = {};  // of the orders of two seeds
};

// One table: all methods on the same experts under the same evaluation condition.
struct Board {
  std::string source;  // name of its results folder, where a report is of several; else ""
  std::string zoo;
  std::string experts;
  std::string shift;
  std::vector<std::string> tasks;   // sorted
  std::vector<std::string> unseen;  // those that no merged expert owns, where it owns others
  std::vector<TaskMetric> metrics;  // [tasks]
  Score score;                      // of the averages
  std::vector<int64_t> seeds;
  std::vector<int64_t> examples;  // [tasks], of the test split
  std::vector<std::optional<int64_t>>
      groups;                // [tasks], of these examples; absent where they are not recorded
  bool same_models = false;  // the seeds have one set of models: they key the methods' random numbers alone
  std::set<std::string> devices;  // kinds that made the results, where they say
  std::vector<Row> rows;          // by group, then by average; incomplete rows last
  std::vector<GroupRanking>
      rankings;                    // of groups with three rows or more, on boards with two seen tasks or more
  std::vector<Setting> settings;   // all that were tried, by method and text
  std::vector<std::string> notes;  // what a reader must know about single rows
};

// Boards by zoo, number of experts and shift ("clean" first). Throws ConfigError where a name is not a cell's,
// DataError where a method or a task is not described.
std::vector<Board> make_boards(const Records& records);

// The settings of a board's methods that have a parameter t, along t: the path between two models. What is highest
// above the chord between its ends is its barrier: of the error (of the score, as much as it is worse) and of the loss,
// of the means over seeds.
struct Path {
  std::string method;  // its title
  std::string others;  // its other parameters
  struct Point {
    double t = 0;
    double score = 0, loss = 0;  // test
  };
  std::vector<Point> points;  // by growing t
  double score_barrier = 0;
  std::optional<double> loss_barrier;  // absent where the task has no loss
};
// Those that are tested at both ends, t = 0 and t = 1, and between them.
std::vector<Path> make_paths(const Board& board);

// Average against the number of experts, of one zoo under one shift.
struct Scaling {
  std::string zoo;  // after the name of its results folder, where a report is of several
  std::string shift;
  Score score;
  std::vector<int64_t> experts;
  struct Line {
    std::string title;
    std::vector<std::optional<double>> average;          // [experts]
    std::vector<std::optional<Interval>> interval = {};  // [experts], of these averages
  };
  std::vector<Line> lines;  // in the order of the board with the most experts
};
// Only where a zoo has two or more numbers of experts with the same score; subsets chosen by name do not take part.
std::vector<Scaling> make_scalings(const std::vector<Board>& boards);

// Average against the size of a model, of zoos whose names differ in their last part alone ("vision8-small" and
// "vision8-large"), under one shift.
struct SizeSeries {
  std::string family;  // "vision8"
  std::string experts;
  std::string shift;
  Score score;
  std::vector<std::string> zoos;   // by growing size
  std::vector<double> parameters;  // [zoos], of one model
  std::vector<Scaling::Line> lines =
      {};  // averages [zoos], in the order of the board with the largest models
};
// Of two or more zoos with the same score whose boards tell what one model stores.
std::vector<SizeSeries> make_size_series(const std::vector<Board>& boards);

// Kendall's tau of the orders that two boards give to the methods of one group that have an average on both.
struct BoardAgreement {
  const Board* first = nullptr;
  const Board* second = nullptr;
  RowGroup group = RowGroup::kTaskUnknown;
  int64_t methods = 0;
  double tau = 0;
};
// Of each two boards of other zoos with the same shift and as many experts, where they share five methods or more.
// Points into the boards.
std::vector<BoardAgreement> compare_orders(const std::vector<Board>& boards);

}  // namespace fusegrid
