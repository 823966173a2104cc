#include "report/paired.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

namespace fusegrid {
namespace {

// The numbers that are recorded for a metric; absent where they are not, or in rows of another width.
std::optional<MetricRows> recorded_rows(const Result& cell, const MetricRule& rule,
                                        const std::string& split) {
  for (const Outcomes& outcomes : cell.outcomes) {
    const bool whole =
        rule.has_width(outcomes.width) && outcomes.examples() * outcomes.width == std::ssize(outcomes.rows);
    if (outcomes.split == split && outcomes.metric == rule.name && whole) {
      return number_rows(outcomes.width, outcomes.rows);
    }
  }
  return std::nullopt;
}

// Rows of the recorded classes and labels; absent where they are not of the same examples.
std::optional<MetricRows> rows_of_classes(const Result& cell, const ExamplesRecord& examples) {
  for (const Predictions& predictions : cell.predictions) {
    if (predictions.split == examples.split && predictions.classes.size() == examples.labels.size()) {
      return class_rows(predictions.classes, examples.labels);
    }
  }
  return std::nullopt;
}

// The test rows of a cell, where they explain its recorded value.
std::optional<MetricRows> explaining_rows(const Records& records, const BoardCells& board,
                                          const SettingCells& cells, size_t cell) {
  std::optional<MetricRows> rows = rows_of(records, board, cells, cell, "test");
  const std::optional<double> recorded = metric_of(board, cells, cell, "test");
  const std::optional<double> value = rows ? value_of(*board.metric(cell).rule, *rows) : std::nullopt;
  if (!recorded || !value || !(std::abs(*value - *recorded) < 1e-6 * std::max(1.0, std::abs(*recorded)))) {
    return std::nullopt;
  }
  return rows;
}

// Whether the mean over replicates is that of their examples together.
bool pools_replicates(const BoardCells& board, size_t task) {
  return board.metrics[task].rule->is_mean() && !board.score.relative;
}

// One for each replicate of a task, or one for all where they are pooled; empty where a cell's rows are not to be had.
std::vector<GroupSums> sums_of_setting(const Records& records, const BoardCells& board,
                                       const SettingCells& cells, size_t task, const Grouping& grouping) {
  std::vector<MetricRows> replicates;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    std::optional<MetricRows> rows = explaining_rows(records, board, cells, seed * board.tasks.size() + task);
    if (!rows || rows->examples != grouping.examples) {
      return {};
    }
    replicates.push_back(std::move(*rows));
  }
  if (pools_replicates(board, task)) {
    return {sums_of(replicates, grouping)};
  }
  std::vector<GroupSums> sums;
  for (MetricRows& rows : replicates) {
    sums.push_back(sums_of({std::move(rows)}, grouping));
  }
  return sums;
}

// What a value of each replicate counts: itself, or what it is relative to the task's own expert.
std::vector<PairedSums::Line> score_lines(const BoardCells& board, size_t task) {
  if (!board.score.relative) {
    return std::vector<PairedSums::Line>(board.seeds.size());
  }
  std::vector<PairedSums::Line> lines;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    const double own = board.own.at("test")[seed * board.tasks.size() + task].value();
    const Better better = board.metrics[task].better;
    const double at_zero = relative_score(better, 0, own);
    lines.push_back({at_zero, (1 - at_zero) / own});  // through (own, 1)
  }
  return lines;
}

PairedSums empty_sums(const BoardCells& board, size_t task, const Grouping& grouping) {
  PairedSums sums;
  sums.task = board.tasks[task];
  for (const auto& group : grouping.groups) {
    sums.sizes.push_back(static_cast<uint32_t>(group.size()));
  }
  sums.finish = board.metrics[task].rule->finish;
  sums.pooled = pools_replicates(board, task) ? static_cast<int64_t>(board.seeds.size()) : 1;
  return sums;
}

}  // namespace

std::optional<MetricRows> rows_of(const Records& records, const BoardCells& board, const SettingCells& cells,
                                  size_t cell, const std::string& split) {
  return cells[cell] == nullptr ? std::nullopt
                                : rows_of(records, *cells[cell], board.zoo,
                                          board.tasks[cell % board.tasks.size()], board.metric(cell), split);
}

std::optional<MetricRows> rows_of(const Records& records, const Result& result, const std::string& zoo,
                                  const std::string& task, const TaskMetric& metric,
                                  const std::string& split) {
  if (metric.rule == nullptr) {
    return std::nullopt;
  }
  if (metric.rule->row == MetricRow::kNumbers) {
    return recorded_rows(result, *metric.rule, split);
  }
  const auto examples = records.examples.find({zoo, task, split});
  return examples == records.examples.end() ? std::nullopt : rows_of_classes(result, examples->second);
}

Grouping grouping_of(const ExamplesRecord* recorded, size_t examples) {
  std::vector<uint32_t> names(examples);
  std::iota(names.begin(), names.end(), 0U);
  if (recorded != nullptr) {
    names = recorded->groups;
  }
  Grouping grouping;
  grouping.examples = names.size();
  std::map<uint32_t, size_t> positions;
  for (size_t e = 0; e < names.size(); ++e) {
    const auto [at, fresh] = positions.emplace(names[e], grouping.groups.size());
    if (fresh) {
      grouping.groups.emplace_back();
    }
    grouping.groups[at->second].push_back(static_cast<uint32_t>(e));
  }
  return grouping;
}

GroupSums sums_of(const std::vector<MetricRows>& models, const Grouping& grouping) {
  GroupSums sums;
  std::vector<std::vector<size_t>> begin;  // [models][examples + 1]: where an example's entries begin
  for (const MetricRows& rows : models) {
    sums.width = rows.width;
    std::vector<size_t>& counts = begin.emplace_back(rows.examples + 1, 0);
    for (const MetricRows::Entry& entry : rows.entries) {
      ++counts[entry.example + 1];
    }
    std::partial_sum(counts.begin(), counts.end(), counts.begin());
  }
  std::vector<double> row(sums.width, 0.0);
  std::vector<uint32_t> touched;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    for (size_t m = 0; m < models.size(); ++m) {
      for (const uint32_t example : grouping.groups[g]) {
        for (size_t i = begin[m][example]; i < begin[m][example + 1]; ++i) {
          row[models[m].entries[i].column] += models[m].entries[i].value;
          touched.push_back(models[m].entries[i].column);
        }
      }
    }
    for (const uint32_t column : touched) {
      if (const double value = std::exchange(row[column], 0.0); value != 0) {
        sums.entries.push_back({static_cast<uint32_t>(g), column, value});
      }
    }
    touched.clear();
  }
  return sums;
}

Paired pair_settings(const Records& records, const BoardCells& board, const std::vector<size_t>& tasks,
                     const std::vector<Grouping>& groupings,
                     const std::vector<const SettingCells*>& settings) {
  Paired paired;
  if (std::any_of(tasks.begin(), tasks.end(),
                  [&](size_t task) { return board.metrics[task].rule == nullptr; })) {
    return paired;
  }
  for (const size_t task : tasks) {
    paired.tasks.push_back(empty_sums(board, task, groupings[task]));
  }
  for (size_t s = 0; s < settings.size(); ++s) {
    std::vector<std::vector<GroupSums>> of_tasks;
    const bool usable = std::all_of(tasks.begin(), tasks.end(), [&](size_t task) {
      of_tasks.push_back(sums_of_setting(records, board, *settings[s], task, groupings[task]));
      return !of_tasks.back().empty();
    });
    if (!usable) {
      continue;
    }
    for (size_t i = 0; i < tasks.size(); ++i) {
      paired.tasks[i].scores = score_lines(board, tasks[i]);
      paired.tasks[i].sums.push_back(std::move(of_tasks[i]));
    }
    paired.settings.push_back(s);
  }
  return paired;
}

}  // namespace fusegrid
