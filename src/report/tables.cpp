#include "report/tables.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "core/text.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

using TableCell = ReportTable::Cell;
using TableColumn = ReportTable::Column;

const TableColumn kMethodColumn{"Method", false};

// The rows of a board; `cells` makes those of one row.
template <typename MakeCells>
void add_rows(ReportTable& table, const Board& board, const MakeCells& cells) {
  for (const Row& row : board.rows) {
    table.lines.push_back({group_title(row.group), cells(row)});
  }
}

TableCell seconds_cell(const std::optional<double>& value) {
  return {value ? fixed(*value, 2) : "-", value};
}

// In thousands of millions, millions of bytes, ...
TableCell scaled_cell(const std::optional<double>& value, double unit) {
  return {value_text(value ? std::optional(*value / unit) : std::nullopt, ""), value};
}

TableCell value_cell(const std::optional<double>& value, const std::string& unit, int digits = 1) {
  return {value_text(value, unit, digits), value};
}

TableCell marked_average(const Average& average, const std::string& unit) {
  TableCell cell = value_cell(average.value, unit, 2);
  if (average.deviation) {
    cell.text += " ± " + value_text(average.deviation, unit, 2);
  }
  cell.mark = average.best   ? ReportTable::Mark::kBest
              : average.tied ? ReportTable::Mark::kTied
                             : ReportTable::Mark::kNone;
  return cell;
}

// Fusion at all settings, mean over seeds; absent where none was timed.
std::optional<double> all_merges(const Board& board, const Row& row) {
  std::optional<double> sum;
  for (const Setting& setting : board.settings) {
    if (setting.method == row.setting.method && setting.merge_seconds) {
      sum = sum.value_or(0) + *setting.merge_seconds;
    }
  }
  return sum;
}

std::optional<double> stored_number(const Row& row) {
  return row.stored_models ? row.stored_models : row.setting.stored_parameters;
}

}  // namespace

ReportTable score_table(const Board& board) {
  ReportTable table;
  table.columns = {kMethodColumn};
  for (const std::string& column : task_columns(board)) {
    table.columns.push_back({column});
  }
  const std::vector<AverageColumn> averages = average_columns(board);
  for (const AverageColumn& column : averages) {
    table.columns.push_back({column.heading});
    table.columns.push_back({"95 %"});
  }
  if (!board.score.relative) {
    table.columns.push_back({"Norm."});
  }
  table.columns.push_back({"Rank"});
  add_rows(table, board, [&](const Row& row) {
    const std::string& unit = board.score.unit;
    std::vector<TableCell> cells{{row.method.title}};
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      cells.push_back(value_cell(row.by_task[task], board.metrics[task].unit));
    }
    for (const AverageColumn& column : averages) {
      const Average& average = row.*column.average;
      cells.push_back(marked_average(average, unit));
      cells.push_back({interval_text(average, unit),
                       average.interval ? std::optional(average.interval->low) : std::nullopt});
    }
    if (!board.score.relative) {
      cells.push_back({percent(row.normalised), row.normalised});
    }
    cells.push_back({row.rank ? std::to_string(*row.rank) : "-",
                     row.rank ? std::optional(static_cast<double>(*row.rank)) : std::nullopt});
    return cells;
  });
  return table;
}

ReportTable choice_table(const Board& board) {
  ReportTable table;
  table.columns = {kMethodColumn,    {"Tried"},     {"Default"},          {"Chosen"},
                   {"Best on test"}, {"Mean rank"}, {"Parameters", false}};
  add_rows(table, board, [&](const Row& row) {
    const ChoiceTexts texts = choice_texts(board, row);
    return std::vector<TableCell>{{row.method.title},
                                  {texts.tried, static_cast<double>(row.tried)},
                                  {texts.at_defaults, row.at_defaults},
                                  {texts.chosen, row.average.value},
                                  {texts.best_on_test, row.best_on_test},
                                  {texts.average_rank, row.average_rank},
                                  {shown_parameters(row)}};
  });
  return table;
}

ReportTable needs_table(const Board& board) {
  ReportTable table;
  table.columns = {kMethodColumn, {"Data", false}, {"Task identity", false}, {"Yields", false}, {"Stored"}};
  add_rows(table, board, [](const Row& row) {
    const MethodRecord& method = row.method;
    return std::vector<TableCell>{{method.title},
                                  {data_used(method)},
                                  {method.told_task ? "yes" : "no"},
                                  {method.yields},
                                  {stored_text(row), stored_number(row)}};
  });
  return table;
}

ReportTable table_of(const TextRows& texts) {
  ReportTable table;
  for (const std::string& heading : texts.header) {
    table.columns.push_back({heading, !table.columns.empty()});
  }
  for (const std::vector<std::string>& row : texts.rows) {
    std::vector<TableCell> cells;
    for (const std::string& text : row) {
      double number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      cells.push_back({text, error == std::errc() ? std::optional(number) : std::nullopt});
    }
    table.lines.push_back({"", std::move(cells)});
  }
  return table;
}

ReportTable cost_table(const Board& board) {
  ReportTable table;
  table.columns = {kMethodColumn,
                   {"Merge, s"},
                   {"Merges of all settings, s"},
                   {"Evaluation of a task, s"},
                   {"Merge, 10^9 operations"},
                   {"Merge, peak MiB"}};
  add_rows(table, board, [&](const Row& row) {
    return std::vector<TableCell>{{row.method.title},
                                  seconds_cell(row.setting.merge_seconds),
                                  seconds_cell(all_merges(board, row)),
                                  seconds_cell(row.setting.evaluate_seconds),
                                  scaled_cell(row.setting.merge_operations, 1e9),
                                  scaled_cell(row.setting.merge_peak_bytes, 1048576)};
  });
  return table;
}

ReportTable scaling_table(const Scaling& scaling) {
  ReportTable table;
  table.columns = {kMethodColumn};
  for (const int64_t experts : scaling.experts) {
    table.columns.push_back({std::to_string(experts)});
  }
  for (const Scaling::Line& line : scaling.lines) {
    std::vector<TableCell> cells{{line.title}};
    for (const auto& average : line.average) {
      cells.push_back(value_cell(average, scaling.score.unit, 2));
    }
    table.lines.push_back({"", std::move(cells)});
  }
  return table;
}

ReportTable size_table(const SizeSeries& series) {
  ReportTable table;
  table.columns = {kMethodColumn};
  for (size_t i = 0; i < series.zoos.size(); ++i) {
    table.columns.push_back({series.zoos[i] + ", " + fixed(series.parameters[i], 0)});
  }
  for (const Scaling::Line& line : series.lines) {
    std::vector<TableCell> cells{{line.title}};
    for (const auto& average : line.average) {
      cells.push_back(value_cell(average, series.score.unit, 2));
    }
    table.lines.push_back({"", std::move(cells)});
  }
  return table;
}

std::string path_title(const std::vector<Path>& paths, const Path& path) {
  const bool is_alone = std::count_if(paths.begin(), paths.end(),
                                      [&](const Path& other) { return other.method == path.method; }) == 1;
  return path.method + (is_alone ? "" : ", " + path.others);
}

ReportTable path_table(const Board& board, const std::vector<Path>& paths) {
  ReportTable table;
  table.columns = {{"t"}};
  std::set<double> positions;
  std::vector<TableCell> barriers{{"barrier"}}, loss_barriers{{"barrier of the loss"}};
  for (const Path& path : paths) {
    table.columns.push_back({path_title(paths, path)});
    for (const Path::Point& point : path.points) {
      positions.insert(point.t);
    }
    barriers.push_back(value_cell(path.score_barrier, board.score.unit, 2));
    loss_barriers.push_back({path.loss_barrier ? fixed(*path.loss_barrier, 3) : "-", path.loss_barrier});
  }
  for (const double t : positions) {
    std::vector<TableCell> cells{{number_text(t), t}};
    for (const Path& path : paths) {
      const auto point = std::find_if(path.points.begin(), path.points.end(),
                                      [&](const Path::Point& each) { return each.t == t; });
      cells.push_back(point == path.points.end() ? TableCell{"-"}
                                                 : value_cell(point->score, board.score.unit, 2));
    }
    table.lines.push_back({"", std::move(cells)});
  }
  table.lines.push_back({"", std::move(barriers)});
  table.lines.push_back({"", std::move(loss_barriers)});
  return table;
}

}  // namespace fusegrid
