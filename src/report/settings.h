// From cells to parameter settings: grouping, scores, and the choice on validation data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// Results of one parameter setting: [seeds * tasks], task fastest; nullptr where nothing is recorded.
using SettingCells = std::vector<const Result*>;

// The cells of one board. Points into the records.
struct BoardCells {
  std::string zoo;
  std::string experts;
  std::string shift;
  std::vector<std::string> tasks;  // sorted
  std::vector<int64_t> seeds;
  // name of a MethodRecord -> all parameters -> cells
  std::map<std::string, std::map<std::string, SettingCells>> methods;
  std::vector<TaskMetric> metrics;  // [tasks]
  Score score;
  // By split, [seeds * tasks]: what the task's own expert has, on the board of this zoo and shift with the most experts
  // that tells it.
  std::map<std::string, std::vector<std::optional<double>>> own;
  // Tasks that a merged expert owns, and the others. Where none is owned, there is nothing to choose parameters by but
  // these: all count as seen.
  std::vector<size_t> seen;
  std::vector<size_t> unseen;
  bool owned = true;  // whether a merged expert owns one

  const TaskMetric& metric(size_t cell) const { return metrics[cell % tasks.size()]; }
  // "ant (seed 0)"
  std::string place(size_t cell) const;
};

// How many experts a cell names: as a number, or one by one.
size_t number_of_experts(const std::string& experts);

// In the order of make_boards().
std::vector<BoardCells> group_cells(const Records& records);

// A metric of a result on a split; nullptr where the result is missing or not valid, or has no such finite metric.
const Metric* find_metric(const Result* result, const std::string& name, const std::string& split);
// The primary metric at place `cell` of a setting.
std::optional<double> metric_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                                const std::string& split);
// The same relative to the task's own expert; absent where that has no score, or one too near 0.
std::optional<double> relative_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                                  const std::string& split);
// Whichever of the two the board compares.
std::optional<double> score_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                               const std::string& split);
// Mean over seen tasks and seeds of relative_of() on test; absent where one is.
std::optional<double> mean_relative(const BoardCells& board, const SettingCells& cells);

Setting summarise(const BoardCells& board, const Records& records, const std::string& method,
                  const std::string& parameters, const SettingCells& cells);

// Index of the setting to report: the best validation score (mean over seen tasks and seeds) among the complete and the
// untested ones, the first of equals. Test numbers play no part. Where no setting can be chosen, the one with the
// fewest gaps is returned, with a gap that says so; a chosen one that is not tested yet has a gap as well.
size_t choose(const Score& score, std::vector<Setting>& settings);

}  // namespace fusegrid
