#include "report/settings.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "core/cell.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

// Boards by zoo, number of experts, shift with "clean" first.
struct BoardKey {
  std::string zoo;
  std::string experts;
  std::string shift;

  auto order() const {
    const int64_t count = is_count(experts) ? parse_int(experts, "experts") : INT64_MAX;
    return std::tuple(zoo, count, experts, shift != "clean", shift);
  }
  bool operator<(const BoardKey& other) const { return order() < other.order(); }
};

using CellList = std::vector<std::pair<Cell, const Result*>>;

template <typename T>
size_t index_of(const std::vector<T>& sorted, const T& value) {
  return static_cast<size_t>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
}

// All parameters of a cell's method, which its name does not hold.
const std::string& parameters_of(const Result& result) {
  const auto parameters = result.bindings.find("parameters");
  if (parameters == result.bindings.end()) {
    throw DataError("each result of a grid is recorded with its parameters, but '" + result.name +
                    "' is not; run the cell again");
  }
  return parameters->second;
}

BoardCells arrange(const BoardKey& key, const CellList& cells) {
  std::set<std::string> tasks;
  std::set<int64_t> seeds;
  for (const auto& [cell, result] : cells) {
    tasks.insert(cell.task);
    seeds.insert(cell.seed);
  }
  BoardCells board{
      key.zoo, key.experts, key.shift, {tasks.begin(), tasks.end()}, {seeds.begin(), seeds.end()}, {}};
  for (const auto& [cell, result] : cells) {
    SettingCells& setting = board.methods[cell.method][parameters_of(*result)];
    setting.resize(tasks.size() * seeds.size(), nullptr);
    setting[index_of(board.seeds, cell.seed) * tasks.size() + index_of(board.tasks, cell.task)] = result;
  }
  return board;
}

// Mean over tasks and seeds; absent where a cell lacks the metric.
std::optional<double> mean_metric(const SettingCells& cells, const std::string& name,
                                  const std::string& split) {
  double sum = 0;
  for (const Result* cell : cells) {
    const Metric* metric = find_metric(cell, name, split);
    if (metric == nullptr) {
      return std::nullopt;
    }
    sum += metric->value;
  }
  return sum / static_cast<double>(cells.size());
}

// Mean over seeds of a merge's fusion time. The cell that caused the merge measured it, the others may hold
// 0.
std::optional<double> mean_merge_seconds(const BoardCells& board, const SettingCells& cells) {
  double sum = 0;
  int64_t merges = 0;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    std::optional<double> longest;
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      const Result* cell = cells[seed * board.tasks.size() + task];
      if (cell != nullptr && cell->timings.contains("fuse")) {
        longest = std::max(longest.value_or(0), cell->timings.at("fuse"));
      }
    }
    if (longest) {
      sum += *longest;
      ++merges;
    }
  }
  return merges == 0 ? std::nullopt : std::optional(sum / static_cast<double>(merges));
}

std::optional<double> mean_evaluate_seconds(const SettingCells& cells) {
  double sum = 0;
  int64_t timed = 0;
  for (const Result* cell : cells) {
    if (cell != nullptr && cell->timings.contains("evaluate")) {
      sum += cell->timings.at("evaluate");
      ++timed;
    }
  }
  return timed == 0 ? std::nullopt : std::optional(sum / static_cast<double>(timed));
}

std::optional<double> find_stored_parameters(const SettingCells& cells) {
  std::optional<double> most;
  for (const Result* cell : cells) {
    if (cell != nullptr && cell->facts.contains("stored_parameters")) {
      const double stored =
          parse_double(cell->facts.at("stored_parameters"), "stored_parameters of " + cell->name);
      most = std::max(most.value_or(0), stored);
    }
  }
  return most;
}

std::string gap_reason(const Result* cell) {
  if (cell == nullptr) {
    return "not recorded";
  }
  if (cell->status != Status::kValid) {
    return to_string(cell->status) + (cell->reason.empty() ? "" : ": " + cell->reason);
  }
  return "its result has no test accuracy";
}

}  // namespace

std::vector<BoardCells> group_cells(const std::map<std::string, Result>& results) {
  std::map<BoardKey, CellList> groups;
  for (const auto& [name, result] : results) {
    const Cell cell = Cell::parse(name);
    groups[{cell.zoo, cell.experts, cell.shift}].emplace_back(cell, &result);
  }
  std::vector<BoardCells> boards;
  for (const auto& [key, cells] : groups) {
    boards.push_back(arrange(key, cells));
  }
  return boards;
}

const Metric* find_metric(const Result* result, const std::string& name, const std::string& split) {
  if (result == nullptr || result->status != Status::kValid) {
    return nullptr;
  }
  for (const Metric& metric : result->metrics) {
    if (metric.name == name && metric.split == split) {
      return std::isfinite(metric.value) ? &metric : nullptr;
    }
  }
  return nullptr;
}

Setting summarise(const BoardCells& board, const std::string& method, const std::string& parameters,
                  const SettingCells& cells) {
  Setting setting;
  setting.method = method;
  setting.parameters = parameters;
  setting.validation_accuracy = mean_metric(cells, "accuracy", "val");
  setting.test_accuracy = mean_metric(cells, "accuracy", "test");
  setting.validation_loss = mean_metric(cells, "loss", "val");
  setting.test_loss = mean_metric(cells, "loss", "test");
  setting.stored_parameters = find_stored_parameters(cells);
  setting.merge_seconds = mean_merge_seconds(board, cells);
  setting.evaluate_seconds = mean_evaluate_seconds(cells);
  const auto known =
      std::find_if(cells.begin(), cells.end(), [](const Result* cell) { return cell != nullptr; });
  setting.named = Cell::parse((*known)->name).parameters;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (find_metric(cells[i], "accuracy", "test") == nullptr) {
      Cell cell = Cell::parse((*known)->name);
      cell.seed = board.seeds[i / board.tasks.size()];
      cell.task = board.tasks[i % board.tasks.size()];
      setting.gaps.push_back({cell.name(), gap_reason(cells[i])});
    }
  }
  return setting;
}

size_t choose(std::vector<Setting>& settings) {
  size_t chosen = settings.size();
  for (size_t i = 0; i < settings.size(); ++i) {
    const Setting& setting = settings[i];
    // A lone setting needs no choice, hence no validation accuracy.
    if (!setting.gaps.empty() || (!setting.validation_accuracy && settings.size() > 1)) {
      continue;
    }
    if (chosen == settings.size() || *setting.validation_accuracy > *settings[chosen].validation_accuracy) {
      chosen = i;
    }
  }
  if (chosen == settings.size()) {
    const auto fewest = std::min_element(settings.begin(), settings.end(), [](const auto& a, const auto& b) {
      return a.gaps.size() < b.gaps.size();
    });
    chosen = static_cast<size_t>(fewest - settings.begin());
    if (fewest->gaps.empty()) {
      fewest->gaps.push_back({fewest->method, "has no validation accuracy to choose among its " +
                                                  std::to_string(settings.size()) + " settings"});
      fewest->test_accuracy = std::nullopt;
    }
  }
  settings[chosen].chosen = true;
  return chosen;
}

}  // namespace fusegrid
