#include "report/board.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "report/comparison.h"
#include "report/paired.h"
#include "report/ranking.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

RowGroup group_of(const MethodRecord& method) {
  if (method.family == "reference") {
    return RowGroup::kReference;
  }
  return method.told_task ? RowGroup::kTaskKnown : RowGroup::kTaskUnknown;
}

const MethodRecord& described(const Records& records, const std::string& name) {
  const auto found = records.methods.find(name);
  if (found == records.methods.end()) {
    throw DataError("results describe every method of their cells, but '" + name +
                    "' is not described; run the cells of that method again");
  }
  return found->second;
}

// name -> value of canonical text
ParamText parameters_of(const Setting& setting) {
  return parse_call("method{" + setting.parameters + "}").second;
}

// Names of the parameters that differ among the settings.
std::vector<std::string> tuned_parameters(const std::vector<Setting>& settings) {
  std::map<std::string, std::set<std::string>> values;
  for (const Setting& setting : settings) {
    for (const auto& [name, value] : parameters_of(setting)) {
      values[name].insert(value);
    }
  }
  std::vector<std::string> tuned;
  for (const auto& [name, seen] : values) {
    if (seen.size() > 1) {
      tuned.push_back(name);
    }
  }
  return tuned;
}

std::optional<double> as_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

// Tuned numbers of which the chosen value is the largest or the smallest that was tried: the best may lie beyond.
std::vector<std::string> at_edge(const std::vector<Setting>& settings, const Setting& chosen,
                                 const std::vector<std::string>& tuned) {
  std::vector<std::string> found;
  for (const std::string& name : tuned) {
    const std::string value = parameters_of(chosen).at(name);
    std::set<double> tried;
    bool numbers = true;
    for (const Setting& setting : settings) {
      const std::optional<double> number = as_number(parameters_of(setting).at(name));
      numbers = numbers && number;
      tried.insert(number.value_or(0));
    }
    constexpr size_t kFewest = 3;  // of two values each is an edge
    if (numbers && tried.size() >= kFewest &&
        (as_number(value) == *tried.begin() || as_number(value) == *tried.rbegin())) {
      found.push_back(name + "=" + value);
    }
  }
  return found;
}

// What no choice at all and a choice by test data would report. A record of its own names parameters, as in
// "wemoe{inputs=validation}": its defaults are those of the others.
void fill_choice(Better better, const std::vector<Setting>& settings, Row& row) {
  const ParamText own = parse_call(row.method.name).second;
  for (const Setting& setting : settings) {
    if (!setting.test_score) {
      continue;
    }
    if (parse_call("method{" + setting.named + "}").second == own) {
      row.at_defaults = setting.test_score;
    }
    if (!row.best_on_test || is_better(better, *setting.test_score, *row.best_on_test)) {
      row.best_on_test = setting.test_score;
    }
  }
}

void fill_tasks(const BoardCells& cells, Entry& entry) {
  for (size_t task = 0; task < cells.tasks.size(); ++task) {
    std::optional<double> sum = 0;
    for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
      const auto value = metric_of(cells, *entry.cells, seed * cells.tasks.size() + task, "test");
      sum = sum && value ? std::optional(*sum + *value) : std::nullopt;
    }
    entry.row.by_task.push_back(sum ? std::optional(*sum / static_cast<double>(cells.seeds.size()))
                                    : std::nullopt);
  }
}

Entry make_entry(const BoardCells& cells, const Records& records, const std::string& name, Board& board) {
  const MethodRecord& method = described(records, name);
  const auto& texts = cells.methods.at(name);
  std::vector<Setting> settings;
  std::vector<const SettingCells*> evidence;
  for (const auto& [parameters, setting_cells] : texts) {
    settings.push_back(summarise(cells, records, name, parameters, setting_cells));
    evidence.push_back(&setting_cells);
  }
  const size_t chosen = choose(cells.score, settings);
  Entry entry;
  entry.cells = evidence[chosen];
  entry.row.method = method;
  entry.row.group = group_of(method);
  entry.row.setting = settings[chosen];
  entry.row.tried = static_cast<int64_t>(settings.size());
  entry.row.tuned = tuned_parameters(settings);
  fill_choice(cells.score.better, settings, entry.row);
  entry.row.at_edge = at_edge(settings, settings[chosen], entry.row.tuned);
  fill_tasks(cells, entry);
  entry.row.average.value = entry.row.setting.test_score;
  entry.row.unseen.value = entry.row.setting.unseen_score;
  if (entry.row.average.value) {
    entry.row.normalised = mean_relative(cells, *entry.cells);
  }
  const auto unusable = std::count_if(settings.begin(), settings.end(), [](const Setting& s) {
    return !s.chosen && (!s.gaps.empty() || !s.validation_score);
  });
  if (unusable > 0) {
    board.notes.push_back(method.title + ": " + std::to_string(unusable) + " of " +
                          std::to_string(settings.size()) +
                          " settings are incomplete and were left out of the choice (settings.csv).");
  }
  board.settings.insert(board.settings.end(), settings.begin(), settings.end());
  return entry;
}

// Why no score can be relative to the tasks' own experts, where one of them cannot.
void note_own_scores(const BoardCells& cells, const Averaged& of, Board& board) {
  if (of.is_unseen() && !cells.score.relative) {
    return;
  }
  std::vector<std::string> missing;
  std::vector<std::string> small;
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    for (const size_t task : of.tasks) {
      const size_t cell = seed * cells.tasks.size() + task;
      const std::optional<double>& own = cells.own.at("test")[cell];
      if (!own) {
        missing.push_back(cells.place(cell));
      } else if (std::abs(*own) < cells.metric(cell).tolerance) {
        small.push_back(cells.place(cell) + " " + cells.metric(cell).name + " " + number_text(*own));
      }
    }
  }
  const std::string lost = of.is_unseen()         ? "no averages over unseen tasks"
                           : cells.score.relative ? "no relative scores, hence no ranks"
                                                  : "no normalised averages";
  if (!missing.empty() && cells.score.relative) {
    board.notes.push_back(
        "The tasks have different metrics, which the scores of their own experts (individual) make "
        "comparable, but these are not recorded for " +
        join(missing, ", ") + ": " + lost + ".");
  }
  if (!small.empty()) {
    board.notes.push_back("Own experts with a score too near 0 to measure others by: " + join(small, ", ") +
                          ": " + lost + ".");
  }
}

void rank(Better better, std::vector<Entry>& entries) {
  for (Entry& entry : entries) {
    if (entry.row.average.value && entry.row.group != RowGroup::kReference) {
      entry.row.rank = 1 + std::count_if(entries.begin(), entries.end(), [&](const Entry& other) {
                         return other.row.group == entry.row.group && other.row.average.value &&
                                is_better(better, *other.row.average.value, *entry.row.average.value);
                       });
    }
  }
}

// Test examples of each task: those of the first cell that tells.
std::vector<int64_t> count_examples(const BoardCells& cells, const std::vector<Entry>& entries) {
  std::vector<int64_t> counts(cells.tasks.size(), 0);
  for (const Entry& entry : entries) {
    for (size_t i = 0; i < entry.cells->size(); ++i) {
      const Metric* metric = find_metric((*entry.cells)[i], cells.metric(i).name, "test");
      int64_t& count = counts[i % cells.tasks.size()];
      count = count == 0 && metric != nullptr ? metric->count : count;
    }
  }
  return counts;
}

// By group, then by average; rows without one last.
bool comes_before(Better better, const Row& a, const Row& b) {
  if (a.group != b.group) {
    return a.group < b.group;
  }
  const auto& of_a = a.average.value;
  const auto& of_b = b.average.value;
  if (of_a != of_b) {
    return of_a && (!of_b || is_better(better, *of_a, *of_b));
  }
  return a.setting.method < b.setting.method;
}

std::set<std::string> devices_of(const BoardCells& cells) {
  std::set<std::string> devices;
  for (const auto& [method, settings] : cells.methods) {
    for (const auto& [parameters, results] : settings) {
      for (const Result* result : results) {
        if (result != nullptr && result->facts.contains("device")) {
          devices.insert(result->facts.at("device"));
        }
      }
    }
  }
  return devices;
}

// Whether all seeds have the same base and experts: where a zoo has one replicate, it serves every seed.
bool have_same_models(const Records& records, const BoardCells& cells) {
  std::set<std::map<std::string, std::string>> models;
  for (const int64_t seed : cells.seeds) {
    const std::string place = cells.zoo + "/" + std::to_string(seed) + "/";
    std::map<std::string, std::string> of_seed;
    for (const auto& [key, binding] : records.bindings) {
      if (key.starts_with(place)) {
        of_seed.emplace(key.substr(place.size()), binding.value);
      }
    }
    if (!of_seed.empty()) {
      models.insert(std::move(of_seed));
    }
  }
  return cells.seeds.size() > 1 && models.size() == 1;
}

Board make_board(const BoardCells& cells, const Records& records) {
  Board board;
  board.zoo = cells.zoo;
  board.experts = cells.experts;
  board.shift = cells.shift;
  board.tasks = cells.tasks;
  for (const size_t task : cells.unseen) {
    board.unseen.push_back(cells.tasks[task]);
  }
  board.metrics = cells.metrics;
  board.score = cells.score;
  board.seeds = cells.seeds;
  std::vector<Entry> entries;
  for (const auto& [name, settings] : cells.methods) {
    entries.push_back(make_entry(cells, records, name, board));
  }
  board.examples = count_examples(cells, entries);
  board.devices = devices_of(cells);
  if (!cells.owned) {
    board.notes.emplace_back(
        "No merged expert owns a task of this board: parameters are chosen on validation examples of tasks "
        "that the experts were not made for.");
  }
  board.same_models = have_same_models(records, cells);
  std::vector<Grouping> groupings;
  for (size_t task = 0; task < cells.tasks.size(); ++task) {
    const auto found = records.examples.find({cells.zoo, cells.tasks[task], "test"});
    const ExamplesRecord* recorded = found == records.examples.end() ? nullptr : &found->second;
    groupings.push_back(grouping_of(recorded, static_cast<size_t>(board.examples[task])));
    const auto groups = static_cast<int64_t>(groupings.back().groups.size());
    board.groups.push_back(recorded != nullptr ? std::optional(groups) : std::nullopt);
  }
  for (const Averaged& of : averages_of(cells)) {
    note_own_scores(cells, of, board);
  }
  for (const Averaged& of : averages_of(cells)) {
    for (Entry& entry : entries) {
      if (!board.same_models) {
        fill_deviation(cells, of, entry);
      }
    }
    compare(records, cells, of, groupings, entries, board);
  }
  rank(board.score.better, entries);
  fill_rankings(cells, entries, board);
  for (Entry& entry : entries) {
    board.rows.push_back(std::move(entry.row));
  }
  std::sort(board.rows.begin(), board.rows.end(),
            [&](const Row& a, const Row& b) { return comes_before(board.score.better, a, b); });
  return board;
}

// The size of one model of a zoo is that of the smallest row that yields one model.
void fill_stored_models(std::vector<Board>& boards) {
  std::map<std::string, double> model_size;
  for (const Board& board : boards) {
    for (const Row& row : board.rows) {
      if (row.method.yields == "one model" && row.setting.stored_parameters.value_or(0) > 0) {
        const auto [at, added] = model_size.emplace(board.zoo, *row.setting.stored_parameters);
        at->second = std::min(at->second, *row.setting.stored_parameters);
      }
    }
  }
  for (Board& board : boards) {
    for (Row& row : board.rows) {
      if (row.setting.stored_parameters && model_size.contains(board.zoo)) {
        row.stored_models = *row.setting.stored_parameters / model_size.at(board.zoo);
      }
    }
  }
}

}  // namespace

std::vector<Board> make_boards(const Records& records) {
  std::vector<Board> boards;
  for (const BoardCells& cells : group_cells(records)) {
    boards.push_back(make_board(cells, records));
  }
  fill_stored_models(boards);
  return boards;
}

}  // namespace fusegrid
