// From cells to parameter settings: grouping, averages, and the choice on validation data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "report/board.h"

namespace fusegrid {

// Results of one parameter setting: [seeds * tasks], task fastest; nullptr where nothing is recorded.
using SettingCells = std::vector<const Result*>;

// The cells of one board. Points into the map of results.
struct BoardCells {
  std::string zoo;
  std::string experts;
  std::string shift;
  std::vector<std::string> tasks;  // sorted
  std::vector<int64_t> seeds;
  std::map<std::string, std::map<std::string, SettingCells>> methods;  // method -> all parameters -> cells
};

// In the order of make_boards().
std::vector<BoardCells> group_cells(const std::map<std::string, Result>& results);

// The metric of a cell on a split; nullptr where the cell is missing or not valid, or has no such finite
// metric.
const Metric* find_metric(const Result* result, const std::string& name, const std::string& split);

Setting summarise(const BoardCells& board, const std::string& method, const std::string& parameters,
                  const SettingCells& cells);

// Index of the setting to report: the highest validation accuracy (mean over tasks and seeds) among the
// complete ones, the first of equals. Test numbers play no part. Where no setting can be chosen, the one with
// the fewest gaps is returned, with a gap that says so.
size_t choose(std::vector<Setting>& settings);

}  // namespace fusegrid
