#include "report/published.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "core/cell.h"
#include "core/errors.h"
#include "core/text.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

using BoardName = std::tuple<std::string, std::string, std::string>;  // zoo, experts, shift

std::string text_of(const BoardName& name) {
  const auto& [zoo, experts, shift] = name;
  return zoo + "/experts=" + experts + "@" + shift;
}

// What a job asks for on one board.
struct PlannedBoard {
  std::set<std::string> tasks;
  std::set<std::string> settings;  // method and parameters as cells are named
};

std::map<BoardName, PlannedBoard> planned_boards(const std::vector<std::string>& cells) {
  std::map<BoardName, PlannedBoard> boards;
  for (const std::string& name : cells) {
    const Cell cell = Cell::parse(name);
    PlannedBoard& board = boards[{cell.zoo, cell.experts, cell.shift}];
    board.tasks.insert(cell.task);
    board.settings.insert(cell.method_text());
  }
  return boards;
}

// By job, of its newest launch.
std::map<std::string, PublishedTable> recorded_tables(const Records& records) {
  std::map<std::string, PublishedTable> tables;
  for (const RunInfo& run : records.runs) {
    const std::string job = std::filesystem::path(run.provenance.value("job", "")).stem();
    tables.erase(job);
    if (run.provenance.contains("published")) {
      const auto& recorded = run.provenance.at("published");
      tables.emplace(job, parse_published_table(recorded.at("text"), recorded.at("file")));
    }
  }
  return tables;
}

bool is_of(const PublishedRow& row, const BoardName& name) {
  const auto& [zoo, experts, shift] = name;
  return (row.zoo.empty() || row.zoo == zoo) && (row.experts.empty() || row.experts == experts) &&
         (row.shift.empty() ? "clean" : row.shift) == shift;
}

void check_tasks(const PublishedTable& table, const BoardName& name, const PlannedBoard& planned) {
  std::vector<std::string> missing;
  std::copy_if(table.tasks.begin(), table.tasks.end(), std::back_inserter(missing),
               [&](const std::string& task) { return !planned.tasks.contains(task); });
  if (!missing.empty()) {
    throw ConfigError("every task of " + table.file + " must be tested, but " + text_of(name) + " has no " +
                      join(missing, ", ") + "; name a table of its tasks in the job, or test all of them");
  }
}

// The results of a board by setting, as cells are named.
class BoardResults {
 public:
  explicit BoardResults(const BoardCells* cells) : cells_(cells) {
    if (cells == nullptr) {
      return;
    }
    for (const auto& [method, settings] : cells->methods) {
      for (const auto& [parameters, results] : settings) {
        const auto any =
            std::find_if(results.begin(), results.end(), [](const Result* r) { return r != nullptr; });
        by_setting_[Cell::parse((*any)->name).method_text()] = &results;
      }
    }
  }

  bool has(const std::string& setting) const { return by_setting_.contains(setting); }
  std::vector<std::string> settings() const {
    std::vector<std::string> names;
    for (const auto& [setting, results] : by_setting_) {
      names.push_back(setting);
    }
    return names;
  }
  std::vector<int64_t> seeds() const { return cells_ == nullptr ? std::vector<int64_t>{} : cells_->seeds; }
  std::vector<std::string> tasks() const {
    return cells_ == nullptr ? std::vector<std::string>{} : cells_->tasks;
  }
  bool is_unseen(const std::string& task) const {
    return cells_ != nullptr && std::any_of(cells_->unseen.begin(), cells_->unseen.end(),
                                            [&](size_t i) { return cells_->tasks[i] == task; });
  }
  // Of a setting that is there, by seed; nullptr: not recorded.
  std::vector<const Result*> results(const std::string& setting, const std::string& task) const {
    const auto at = std::find(cells_->tasks.begin(), cells_->tasks.end(), task);
    std::vector<const Result*> found(cells_->seeds.size(), nullptr);
    for (size_t seed = 0; at != cells_->tasks.end() && seed < found.size(); ++seed) {
      const auto place = seed * cells_->tasks.size() + static_cast<size_t>(at - cells_->tasks.begin());
      found[seed] = by_setting_.at(setting)->at(place);
    }
    return found;
  }

 private:
  const BoardCells* cells_;
  std::map<std::string, const SettingCells*> by_setting_;
};

std::string why_without_number(const Result* result, const std::string& task, const std::string& metric) {
  if (result == nullptr) {
    return task + " is not recorded";
  }
  return result->status == Status::kValid ? task + " has no " + metric
                                          : task + " " + to_string(result->status) + ": " + result->reason;
}

class RowComparison {
 public:
  RowComparison(const PublishedTable& table, const BoardName& name, const BoardResults& results)
      : table_(table), name_(name), results_(results) {}

  ComparedRow compare(const PublishedRow& row, const PlannedBoard& planned) {
    ComparedRow compared{.published = row};
    const bool made_of_experts = row.cells != "pretrained";
    compared.saw_test = made_of_experts && std::find(table_.test_trained.begin(), table_.test_trained.end(),
                                                     true) != table_.test_trained.end();
    const bool run = results_.has(row.cells);
    for (size_t task = 0; task < table_.tasks.size(); ++task) {
      compared.by_task.push_back(compared_number(
          row.by_task[task], run ? here(row, task, compared) : std::nullopt, table_.examples[task]));
    }
    compared.average = average(row, compared, false, run);
    compared.unseen = average(row, compared, true, run);
    if (!run) {
      compared.reason = row.cells.empty()                      ? "this program cannot make it"
                        : planned.settings.contains(row.cells) ? "no result yet"
                                                               : "not in the job";
      return compared;
    }
    compared.state = any_number_outside(compared) ? RowState::kOutside
                     : compared.reason.empty()    ? RowState::kWithin
                                                  : RowState::kIncomplete;
    return compared;
  }

 private:
  // In points. What is missing of what is published goes to the reason.
  std::optional<double> here(const PublishedRow& row, size_t task, ComparedRow& compared) const {
    const std::string& name = table_.tasks[task];
    const std::string& metric = table_.metrics[task];
    double sum = 0;
    const auto results = results_.results(row.cells, name);
    for (const Result* result : results) {
      const Metric* value = find_metric(result, metric, "test");
      if (value == nullptr) {
        const bool wanted = row.by_task[task] || (results_.is_unseen(name) ? row.unseen : row.average);
        if (wanted && compared.reason.empty()) {
          compared.reason = why_without_number(result, name, metric);
        }
        return std::nullopt;
      }
      check_examples(task, value->count);
      sum += value->value;
    }
    return published_unit(metric).points * sum / static_cast<double>(results.size());
  }

  void check_examples(size_t task, int64_t count) const {
    if (table_.examples[task] && *table_.examples[task] != count) {
      throw ConfigError(
          "the published numbers of " + table_.file + " are of " + number_text(*table_.examples[task]) +
          " test examples of '" + table_.tasks[task] + "', but the results of " + text_of(name_) +
          " are of " + number_text(count) +
          "; they do not compare. Import the whole test split (without --test or --any-counts)");
    }
  }

  static ComparedNumber compared_number(const std::optional<PublishedNumber>& published,
                                        const std::optional<double>& here, std::optional<int64_t> examples) {
    ComparedNumber number{.published = published, .here = here};
    if (!published || !here) {
      return number;
    }
    number.points = *here - published->points;
    if (published->right) {
      number.right = *number.points / 100 * static_cast<double>(*examples);
    }
    constexpr double kRounding = 1e-6;  // of the sums, in points or answers
    number.outside = std::abs(number.right.value_or(*number.points)) > published->tolerance + kRounding;
    return number;
  }

  // Over the seen or the unseen tasks of the table; of the published row as printed.
  ComparedNumber average(const PublishedRow& row, const ComparedRow& compared, bool unseen, bool run) const {
    const auto& published = unseen ? row.unseen : row.average;
    double sum = 0;
    int64_t tasks = 0;
    std::set<std::string> units;
    for (size_t task = 0; task < table_.tasks.size(); ++task) {
      if (table_.has_unseen && results_.is_unseen(table_.tasks[task]) != unseen) {
        continue;
      }
      if (!run || !compared.by_task[task].here) {
        return {.published = published};
      }
      sum += *compared.by_task[task].here;
      units.insert(published_unit(table_.metrics[task]).name);
      ++tasks;
    }
    const auto mean = units.size() != 1 ? std::nullopt : std::optional(sum / static_cast<double>(tasks));
    return compared_number(published, mean, std::nullopt);
  }

  static bool any_number_outside(const ComparedRow& row) {
    return row.average.outside || row.unseen.outside ||
           std::any_of(row.by_task.begin(), row.by_task.end(),
                       [](const auto& number) { return number.outside; });
  }

  const PublishedTable& table_;
  const BoardName& name_;
  const BoardResults& results_;
};

// nullopt where no row of the table is of this board.
std::optional<ComparedBoard> compare_board(const PublishedTable& table, const BoardName& name,
                                           const PlannedBoard& planned, const BoardCells* cells) {
  ComparedBoard board{.table = table};
  std::tie(board.zoo, board.experts, board.shift) = name;
  const BoardResults results(cells);
  board.seeds = results.seeds();
  RowComparison comparison(table, name, results);
  std::set<std::string> published;
  for (const PublishedRow& row : table.rows) {
    if (is_of(row, name)) {
      board.rows.push_back(comparison.compare(row, planned));
      published.insert(row.cells);
    }
  }
  if (board.rows.empty()) {
    return std::nullopt;
  }
  check_tasks(table, name, planned);
  for (const std::string& setting : results.settings()) {
    if (!published.contains(setting)) {
      board.unpublished.push_back(setting);
    }
  }
  for (const std::string& task : results.tasks()) {
    if (std::find(table.tasks.begin(), table.tasks.end(), task) == table.tasks.end()) {
      board.extra_tasks.push_back(task);
    }
  }
  return board;
}

[[noreturn]] void refuse_other_boards(const PublishedTable& table,
                                      const std::map<BoardName, PlannedBoard>& boards) {
  std::set<std::string> wanted;
  for (const PublishedRow& row : table.rows) {
    wanted.insert((row.zoo.empty() ? "any zoo" : row.zoo) +
                  "/experts=" + (row.experts.empty() ? "any" : row.experts) + "@" +
                  (row.shift.empty() ? "clean" : row.shift));
  }
  std::vector<std::string> there;
  for (const auto& [name, board] : boards) {
    there.push_back(text_of(name));
  }
  constexpr size_t kShown = 5;
  throw ConfigError("the rows of " + table.file + " are of " +
                    some_names({wanted.begin(), wanted.end()}, kShown) + ", but the job has " +
                    some_names(there, kShown) +
                    "; give the zoo the name that the table has, or name another table");
}

}  // namespace

nlohmann::json published_record(const std::string& text, const std::string& file) {
  return {{"file", file}, {"text", text}};
}

std::vector<ComparedBoard> compare_with_published(const Records& records) {
  const auto tables = recorded_tables(records);
  if (tables.empty()) {
    throw ConfigError(
        "a comparison with published results needs the table that the job names, but no launch of these "
        "results has "
        "recorded one; write 'published = FILE' above the first section of the job and start the same run "
        "again: what "
        "is recorded is not run again");
  }
  std::map<BoardName, BoardCells> cells;
  for (BoardCells& board : group_cells(records)) {
    const BoardName name(board.zoo, board.experts, board.shift);
    cells.emplace(name, std::move(board));
  }
  std::vector<ComparedBoard> boards;
  for (const auto& [job, table] : tables) {
    const auto plan = records.plans.find(job);
    const auto planned =
        planned_boards(plan == records.plans.end() ? std::vector<std::string>{} : plan->second);
    const size_t before = boards.size();
    for (const auto& [name, asked] : planned) {
      const auto found = cells.find(name);
      if (auto board = compare_board(table, name, asked, found == cells.end() ? nullptr : &found->second)) {
        board->job = job;
        boards.push_back(std::move(*board));
      }
    }
    if (boards.size() == before) {
      refuse_other_boards(table, planned);
    }
    std::stable_sort(boards.begin() + static_cast<std::ptrdiff_t>(before), boards.end(),
                     [](const ComparedBoard& a, const ComparedBoard& b) {
                       return a.rows.front().published.line < b.rows.front().published.line;
                     });
  }
  return boards;
}

ExitCode outcome_of(const std::vector<ComparedBoard>& boards) {
  const auto any = [&](RowState state) {
    return std::any_of(boards.begin(), boards.end(), [&](const ComparedBoard& board) {
      return std::any_of(board.rows.begin(), board.rows.end(),
                         [&](const ComparedRow& row) { return row.state == state; });
    });
  };
  return any(RowState::kOutside)      ? ExitCode::kDiffers
         : any(RowState::kIncomplete) ? ExitCode::kCellsFailed
                                      : ExitCode::kOk;
}

}  // namespace fusegrid
