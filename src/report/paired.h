// What the rows of a board answered, example by example: the evidence behind scores, and what can be resampled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/bootstrap.h"
#include "report/settings.h"

namespace fusegrid {

// The rows of the task's metric on a split, of the cell at `cell` of a setting. Absent where the records do not hold
// what they are made of, or this program does not know the metric.
std::optional<MetricRows> rows_of(const Records& records, const BoardCells& board, const SettingCells& cells,
                                  size_t cell, const std::string& split);

// The same of one result of a grid.
std::optional<MetricRows> rows_of(const Records& records, const Result& result, const std::string& zoo,
                                  const std::string& task, const TaskMetric& metric,
                                  const std::string& split);

// How the examples of a split are grouped.
struct Grouping {
  std::vector<std::vector<uint32_t>> groups;  // the examples of each
  size_t examples = 0;
};
// As recorded; where that is null, each of the `examples` examples is a group of its own.
Grouping grouping_of(const ExamplesRecord* recorded, size_t examples);
// Sums over the examples of each group, and over the models whose rows these are: of the examples that are grouped.
//   Returns     entries by group
GroupSums sums_of(const std::vector<MetricRows>& models, const Grouping& grouping);

// The settings that can be compared example by example, and their sums.
struct Paired {
  std::vector<size_t> settings;   // which of those given
  std::vector<PairedSums> tasks;  // of those given, each with these models
};
// tasks: their places on the board; settings: those with a score over them. They are left out where the rows of a cell
// are missing, do not give its recorded value, or are not those of the examples.
Paired pair_settings(const Records& records, const BoardCells& board, const std::vector<size_t>& tasks,
                     const std::vector<Grouping>& groupings,
                     const std::vector<const SettingCells*>& settings);

}  // namespace fusegrid
