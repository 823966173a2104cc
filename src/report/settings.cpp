#include "report/settings.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "core/cell.h"
#include "core/count_text.h"
#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "report/choice.h"
#include "report/paired.h"

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

// The name of the record that describes the cell, the one that says most of its parameters: calls of a method that are
// rows of their own have one.
std::string record_of(const Cell& cell, const Records& records) {
  std::string best = cell.method;
  size_t most = 0;
  for (auto next = records.methods.lower_bound(cell.method + "{");
       next != records.methods.end() && next->first.starts_with(cell.method + "{"); ++next) {
    const ParamText called = parse_call(cell.method_text()).second;
    const ParamText described = parse_call(next->first).second;
    const bool fits = std::all_of(described.begin(), described.end(), [&](const auto& parameter) {
      const auto found = called.find(parameter.first);
      return found != called.end() && found->second == parameter.second;
    });
    if (fits && described.size() > most) {
      best = next->first;
      most = described.size();
    }
  }
  return best;
}

BoardCells arrange(const BoardKey& key, const CellList& cells, const Records& records) {
  std::set<std::string> tasks;
  std::set<int64_t> seeds;
  for (const auto& [cell, result] : cells) {
    tasks.insert(cell.task);
    seeds.insert(cell.seed);
  }
  BoardCells board;
  board.zoo = key.zoo;
  board.experts = key.experts;
  board.shift = key.shift;
  board.tasks = {tasks.begin(), tasks.end()};
  board.seeds = {seeds.begin(), seeds.end()};
  for (const auto& [cell, result] : cells) {
    SettingCells& setting = board.methods[record_of(cell, records)][parameters_of(*result)];
    setting.resize(tasks.size() * seeds.size(), nullptr);
    setting[index_of(board.seeds, cell.seed) * tasks.size() + index_of(board.tasks, cell.task)] = result;
  }
  return board;
}

// What each task's own expert has: a cell of kOwnScores on whichever board of the zoo and shift tells it,
// those with more experts first. So boards of several numbers of experts measure in the same units.
void find_own(std::vector<BoardCells>& boards) {
  std::vector<const BoardCells*> by_experts;
  for (const BoardCells& board : boards) {
    by_experts.push_back(&board);
  }
  std::stable_sort(by_experts.begin(), by_experts.end(), [](const auto* a, const auto* b) {
    return number_of_experts(a->experts) > number_of_experts(b->experts);
  });
  using Place = std::tuple<std::string, std::string, int64_t, std::string, std::string>;
  std::map<Place, double> own;  // by zoo, shift, seed, task and split
  const auto place = [](const BoardCells& board, size_t cell, const std::string& split) {
    return Place(board.zoo, board.shift, board.seeds[cell / board.tasks.size()],
                 board.tasks[cell % board.tasks.size()], split);
  };
  for (const BoardCells* board : by_experts) {
    const auto individual = board->methods.find(kOwnScores);
    if (individual == board->methods.end()) {
      continue;
    }
    for (const auto& [parameters, cells] : individual->second) {
      for (size_t cell = 0; cell < cells.size(); ++cell) {
        for (const std::string split : {"val", "test"}) {
          if (const auto value = metric_of(*board, cells, cell, split)) {
            own.emplace(place(*board, cell, split), *value);
          }
        }
      }
    }
  }
  for (BoardCells& board : boards) {
    for (const std::string split : {"val", "test"}) {
      for (size_t cell = 0; cell < board.seeds.size() * board.tasks.size(); ++cell) {
        const auto found = own.find(place(board, cell, split));
        board.own[split].push_back(found == own.end() ? std::nullopt : std::optional(found->second));
      }
    }
  }
}

std::optional<double> recorded_value(const Metric* metric) {
  return metric == nullptr ? std::nullopt : std::optional(metric->value);
}

// Mean over these tasks and all seeds of what `of_cell` says of each cell; absent where it says nothing of one, or
// there is no task.
template <typename OfCell>
std::optional<double> mean_over(const BoardCells& board, const std::vector<size_t>& tasks,
                                const OfCell& of_cell) {
  if (tasks.empty()) {
    return std::nullopt;
  }
  double sum = 0;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    for (const size_t task : tasks) {
      const std::optional<double> value = of_cell(seed * board.tasks.size() + task);
      if (!value) {
        return std::nullopt;
      }
      sum += *value;
    }
  }
  return sum / static_cast<double>(board.seeds.size() * tasks.size());
}

// Tells the tasks that a merged expert owns from the others.
void divide_tasks(const Records& records, BoardCells& board) {
  for (size_t task = 0; task < board.tasks.size(); ++task) {
    const auto owner = records.bindings.find(owner_binding(board.zoo, board.experts, board.tasks[task]));
    const bool unseen = owner != records.bindings.end() && owner->second.value == kNoOwner;
    (unseen ? board.unseen : board.seen).push_back(task);
  }
  if (board.seen.empty()) {
    board.owned = false;
    std::swap(board.seen, board.unseen);
  }
}

// The cells that a method must have. One that is told the task of an input has no answer to unseen ones.
std::vector<size_t> asked_cells(const BoardCells& board, const Records& records, const std::string& method) {
  const auto described = records.methods.find(method);
  std::vector<size_t> tasks = board.seen;
  if (described == records.methods.end() || !described->second.told_task) {
    tasks.insert(tasks.end(), board.unseen.begin(), board.unseen.end());
    std::sort(tasks.begin(), tasks.end());
  }
  std::vector<size_t> cells;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    for (const size_t task : tasks) {
      cells.push_back(seed * board.tasks.size() + task);
    }
  }
  return cells;
}

// Mean over seeds of what a merge costs. The cell that caused the merge measured it, the others may hold 0.
std::optional<double> mean_merge_cost(const BoardCells& board, const SettingCells& cells,
                                      const std::string& cost) {
  double sum = 0;
  int64_t merges = 0;
  for (size_t seed = 0; seed < board.seeds.size(); ++seed) {
    std::optional<double> most;
    for (size_t task = 0; task < board.tasks.size(); ++task) {
      const Result* cell = cells[seed * board.tasks.size() + task];
      if (cell != nullptr && cell->costs.contains(cost)) {
        most = std::max(most.value_or(0), cell->costs.at(cost));
      }
    }
    if (most) {
      sum += *most;
      ++merges;
    }
  }
  return merges == 0 ? std::nullopt : std::optional(sum / static_cast<double>(merges));
}

std::optional<double> mean_evaluate_seconds(const SettingCells& cells) {
  double sum = 0;
  int64_t timed = 0;
  for (const Result* cell : cells) {
    if (cell != nullptr && cell->costs.contains("evaluate_s")) {
      sum += cell->costs.at("evaluate_s");
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

// Why a cell has no test metric.
std::string gap_reason(const Records& records, const BoardCells& board, const SettingCells& cells,
                       size_t cell) {
  const Result* result = cells[cell];
  if (result == nullptr) {
    return "not recorded";
  }
  if (result->status != Status::kValid) {
    return to_string(result->status) + (result->reason.empty() ? "" : ": " + result->reason);
  }
  const TaskMetric& metric = board.metric(cell);
  const std::optional<MetricRows> rows = rows_of(records, board, cells, cell, "test");
  if (rows && rows->examples > 0 && !value_of(*metric.rule, *rows)) {
    return "its test " + metric.name + " is undefined: " + metric.rule->undefined;
  }
  return "its result has no test " + metric.name;
}

bool is_untested(const BoardCells& board, const SettingCells& cells, const std::vector<size_t>& asked) {
  return std::all_of(asked.begin(), asked.end(), [&](size_t cell) {
    return metric_of(board, cells, cell, "val") && !splits_of(*cells[cell]).contains("test");
  });
}

}  // namespace

std::string BoardCells::place(size_t cell) const {
  return tasks[cell % tasks.size()] + " (seed " + std::to_string(seeds[cell / tasks.size()]) + ")";
}

size_t number_of_experts(const std::string& experts) {
  return is_count(experts) ? static_cast<size_t>(parse_int(experts, "experts")) : split(experts, '+').size();
}

std::vector<BoardCells> group_cells(const Records& records) {
  std::map<BoardKey, CellList> groups;
  for (const auto& [name, result] : records.results) {
    const Cell cell = Cell::parse(name);
    groups[{cell.zoo, cell.experts, cell.shift}].emplace_back(cell, &result);
  }
  std::vector<BoardCells> boards;
  for (const auto& [key, cells] : groups) {
    BoardCells& board = boards.emplace_back(arrange(key, cells, records));
    for (const std::string& task : board.tasks) {
      board.metrics.push_back(primary_metric(records, board.zoo, task));
    }
    board.score = score_of(board.metrics);
    divide_tasks(records, board);
  }
  find_own(boards);
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

std::optional<double> metric_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                                const std::string& split) {
  return recorded_value(find_metric(cells[cell], board.metric(cell).name, split));
}

std::optional<double> relative_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                                  const std::string& split) {
  const std::optional<double> value = metric_of(board, cells, cell, split);
  const std::optional<double>& own = board.own.at(split)[cell];
  const TaskMetric& metric = board.metric(cell);
  if (!value || !own || std::abs(*own) < metric.tolerance) {
    return std::nullopt;
  }
  return relative_score(metric.better, *value, *own);
}

std::optional<double> score_of(const BoardCells& board, const SettingCells& cells, size_t cell,
                               const std::string& split) {
  return board.score.relative ? relative_of(board, cells, cell, split) : metric_of(board, cells, cell, split);
}

std::optional<double> mean_relative(const BoardCells& board, const SettingCells& cells) {
  return mean_over(board, board.seen, [&](size_t cell) { return relative_of(board, cells, cell, "test"); });
}

Setting summarise(const BoardCells& board, const Records& records, const std::string& method,
                  const std::string& parameters, const SettingCells& cells) {
  Setting setting;
  setting.method = method;
  setting.parameters = parameters;
  const auto mean_score = [&](const std::vector<size_t>& tasks, const std::string& split) {
    return mean_over(board, tasks, [&](size_t cell) { return score_of(board, cells, cell, split); });
  };
  const auto mean_loss = [&](const std::string& split) {
    return mean_over(board, board.seen,
                     [&](size_t cell) { return recorded_value(find_metric(cells[cell], "loss", split)); });
  };
  setting.validation_score = mean_score(board.seen, "val");
  setting.test_score = mean_score(board.seen, "test");
  setting.unseen_score = mean_score(board.unseen, "test");
  setting.validation_loss = mean_loss("val");
  setting.test_loss = mean_loss("test");
  setting.stored_parameters = find_stored_parameters(cells);
  setting.merge_seconds = mean_merge_cost(board, cells, "fuse_s");
  setting.merge_operations = mean_merge_cost(board, cells, "fuse_operations");
  setting.merge_peak_bytes = mean_merge_cost(board, cells, "fuse_peak_bytes");
  setting.evaluate_seconds = mean_evaluate_seconds(cells);
  const auto known =
      std::find_if(cells.begin(), cells.end(), [](const Result* cell) { return cell != nullptr; });
  setting.named = Cell::parse((*known)->name).parameters;
  const std::vector<size_t> asked = asked_cells(board, records, method);
  setting.untested = is_untested(board, cells, asked);
  for (const size_t i : asked) {
    if (!setting.untested && !metric_of(board, cells, i, "test")) {
      Cell cell = Cell::parse((*known)->name);
      cell.seed = board.seeds[i / board.tasks.size()];
      cell.task = board.tasks[i % board.tasks.size()];
      setting.gaps.push_back({cell.name(), gap_reason(records, board, cells, i)});
    }
  }
  return setting;
}

size_t choose(const Score& score, std::vector<Setting>& settings) {
  size_t chosen = settings.size();
  for (size_t i = 0; i < settings.size(); ++i) {
    const Setting& setting = settings[i];
    // A lone setting needs no choice, hence no validation score.
    if (!setting.gaps.empty() || (!setting.validation_score && settings.size() > 1)) {
      continue;
    }
    if (chosen == settings.size() ||
        is_better(score.better, *setting.validation_score, *settings[chosen].validation_score)) {
      chosen = i;
    }
  }
  if (chosen == settings.size()) {
    const auto fewest = std::min_element(settings.begin(), settings.end(), [](const auto& a, const auto& b) {
      return a.gaps.size() < b.gaps.size();
    });
    chosen = static_cast<size_t>(fewest - settings.begin());
    if (fewest->gaps.empty()) {
      fewest->gaps.push_back({fewest->method, "has no validation " + score.name + " to choose among its " +
                                                  std::to_string(settings.size()) + " settings"});
      fewest->test_score = std::nullopt;
      fewest->unseen_score = std::nullopt;
    }
  }
  Setting& reported = settings[chosen];
  reported.chosen = true;
  if (reported.untested) {
    reported.gaps.push_back({reported.method, "the setting that validation chose is not tested yet"});
  }
  return chosen;
}

}  // namespace fusegrid
