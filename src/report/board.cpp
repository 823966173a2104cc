#include "report/board.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/errors.h"
#include "core/text.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

// A row while its board is made: with the cells of its chosen setting.
struct Entry {
  Row row;
  const SettingCells* cells = nullptr;
};

RowGroup group_of(const MethodCard& card) {
  if (card.family == Family::kReference) {
    return RowGroup::kReference;
  }
  return card.needs_task_identity ? RowGroup::kTaskKnown : RowGroup::kTaskUnknown;
}

const KnownMethod& known(const KnownMethods& methods, const std::string& name) {
  const auto found = methods.find(name);
  if (found == methods.end()) {
    throw DataError("the results hold cells of the method '" + name +
                    "', which this program does not have; make the report with the program that ran them");
  }
  return found->second;
}

// name -> value of canonical text
ParamText parameters_of(const Setting& setting) {
  return parse_call(setting.method + "{" + setting.parameters + "}").second;
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

// Accuracy of a cell that is known to be there.
double accuracy_at(const BoardCells& cells, const Entry& entry, size_t seed, size_t task) {
  return find_metric((*entry.cells)[seed * cells.tasks.size() + task], "accuracy", "test")->value;
}

void fill_task_accuracies(const BoardCells& cells, Entry& entry) {
  for (size_t task = 0; task < cells.tasks.size(); ++task) {
    std::optional<double> sum = 0;
    for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
      const Metric* metric =
          find_metric((*entry.cells)[seed * cells.tasks.size() + task], "accuracy", "test");
      sum = sum && metric != nullptr ? std::optional(*sum + metric->value) : std::nullopt;
    }
    entry.row.accuracy.push_back(sum ? std::optional(*sum / static_cast<double>(cells.seeds.size()))
                                     : std::nullopt);
  }
}

void fill_deviation(const BoardCells& cells, Entry& entry) {
  if (!entry.row.average() || cells.seeds.size() < 2) {
    return;
  }
  double squares = 0;
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    double average = 0;
    for (size_t task = 0; task < cells.tasks.size(); ++task) {
      average += accuracy_at(cells, entry, seed, task);
    }
    const double difference = average / static_cast<double>(cells.tasks.size()) - *entry.row.average();
    squares += difference * difference;
  }
  entry.row.average_deviation = std::sqrt(squares / static_cast<double>(cells.seeds.size() - 1));
}

Entry make_entry(const BoardCells& cells, const std::string& name, const KnownMethod& method, Board& board) {
  const auto& texts = cells.methods.at(name);
  std::vector<Setting> settings;
  std::vector<const SettingCells*> evidence;
  for (const auto& [parameters, setting_cells] : texts) {
    settings.push_back(summarise(cells, name, parameters, setting_cells));
    evidence.push_back(&setting_cells);
  }
  const size_t chosen = choose(settings);
  Entry entry;
  entry.cells = evidence[chosen];
  entry.row.method = method;
  entry.row.group = group_of(method.card);
  entry.row.setting = settings[chosen];
  entry.row.tried = static_cast<int64_t>(settings.size());
  entry.row.tuned = tuned_parameters(settings);
  fill_task_accuracies(cells, entry);
  fill_deviation(cells, entry);
  const auto unusable = std::count_if(settings.begin(), settings.end(), [](const Setting& s) {
    return !s.chosen && (!s.gaps.empty() || !s.validation_accuracy);
  });
  if (unusable > 0) {
    board.notes.push_back(method.card.title + ": " + std::to_string(unusable) + " of " +
                          std::to_string(settings.size()) +
                          " settings are incomplete and were left out of the choice (settings.csv).");
  }
  board.settings.insert(board.settings.end(), settings.begin(), settings.end());
  return entry;
}

void normalise(const BoardCells& cells, std::vector<Entry>& entries) {
  const auto individual = std::find_if(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.row.setting.method == "individual" && entry.row.average();
  });
  if (individual == entries.end()) {
    return;
  }
  for (Entry& entry : entries) {
    double sum = 0;
    bool defined = entry.row.average().has_value();
    for (size_t seed = 0; defined && seed < cells.seeds.size(); ++seed) {
      for (size_t task = 0; task < cells.tasks.size(); ++task) {
        const double reference = accuracy_at(cells, *individual, seed, task);
        defined = defined && reference > 0;
        sum += defined ? accuracy_at(cells, entry, seed, task) / reference : 0;
      }
    }
    if (defined) {
      entry.row.normalised = sum / static_cast<double>(cells.seeds.size() * cells.tasks.size());
    }
  }
}

// The test outcomes of a cell; nullptr where they are absent or do not explain its accuracy.
const Outcomes* find_outcomes(const Result* cell) {
  const Metric* accuracy = find_metric(cell, "accuracy", "test");
  if (accuracy == nullptr) {
    return nullptr;
  }
  for (const Outcomes& outcomes : cell->outcomes) {
    if (outcomes.split == "test" && outcomes.metric == "accuracy" && outcomes.are_marks() &&
        !outcomes.rows.empty()) {
      const auto right = std::count(outcomes.rows.begin(), outcomes.rows.end(), 1.0F);
      const double share = static_cast<double>(right) / static_cast<double>(outcomes.rows.size());
      return std::abs(share - accuracy->value) < 1e-6 ? &outcomes : nullptr;
    }
  }
  return nullptr;
}

// In how many seeds the row was right, per example of a task; empty where that cannot be said.
std::vector<uint16_t> hits_of(const BoardCells& cells, const Entry& entry, size_t task) {
  std::vector<uint16_t> hits;
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    const Outcomes* outcomes = find_outcomes((*entry.cells)[seed * cells.tasks.size() + task]);
    if (outcomes == nullptr || (seed > 0 && outcomes->rows.size() != hits.size())) {
      return {};
    }
    hits.resize(outcomes->rows.size(), 0);
    for (size_t e = 0; e < hits.size(); ++e) {
      hits[e] = static_cast<uint16_t>(hits[e] + (outcomes->rows[e] != 0 ? 1 : 0));
    }
  }
  return hits;
}

// Collects the outcomes of the rows that can be compared example by example; returns those rows.
std::vector<Entry*> pair_outcomes(const BoardCells& cells, std::vector<Entry>& entries,
                                  std::vector<PairedOutcomes>& paired) {
  for (const std::string& task : cells.tasks) {
    paired.push_back({task, 0, {}});
  }
  std::vector<Entry*> rows;
  for (Entry& entry : entries) {
    std::vector<std::vector<uint16_t>> hits;
    bool usable = entry.row.average().has_value();
    for (size_t task = 0; usable && task < cells.tasks.size(); ++task) {
      hits.push_back(hits_of(cells, entry, task));
      const auto examples = static_cast<int64_t>(hits.back().size());
      usable = examples > 0 && (rows.empty() || examples == paired[task].examples);
    }
    if (!usable) {
      continue;
    }
    for (size_t task = 0; task < cells.tasks.size(); ++task) {
      paired[task].examples = static_cast<int64_t>(hits[task].size());
      paired[task].hits.push_back(std::move(hits[task]));
    }
    rows.push_back(&entry);
  }
  return rows;
}

// The row of a group with the highest average, the first of equals; nullptr in an empty group.
Entry* best_of(std::vector<Entry>& entries, RowGroup group) {
  Entry* best = nullptr;
  for (Entry& entry : entries) {
    if (entry.row.group == group && entry.row.average() &&
        (best == nullptr || *entry.row.average() > *best->row.average())) {
      best = &entry;
    }
  }
  return best;
}

void mark_ties(const std::vector<Entry*>& rows, const std::vector<std::vector<double>>& averages,
               const Entry& best) {
  const auto at = std::find(rows.begin(), rows.end(), &best);
  if (at == rows.end()) {
    return;
  }
  const std::vector<double>& top = averages[static_cast<size_t>(at - rows.begin())];
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i]->row;
    if (rows[i] == &best || row.group != best.row.group) {
      continue;
    }
    std::vector<double> differences(top.size());
    for (size_t b = 0; b < top.size(); ++b) {
      differences[b] = averages[i][b] - top[b];
    }
    const Interval interval = percentile_interval(std::move(differences));
    row.tied = interval.low <= 0 && interval.high >= 0;
  }
}

void compare(const BoardCells& cells, std::vector<Entry>& entries, Board& board) {
  std::vector<PairedOutcomes> paired;
  const std::vector<Entry*> rows = pair_outcomes(cells, entries, paired);
  const auto averages = bootstrap_averages(paired, static_cast<int64_t>(cells.seeds.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i]->row.interval = percentile_interval(averages[i]);
  }
  for (const RowGroup group : {RowGroup::kTaskUnknown, RowGroup::kTaskKnown}) {
    if (Entry* best = best_of(entries, group); best != nullptr) {
      best->row.best = true;
      mark_ties(rows, averages, *best);
    }
  }
  for (const Entry& entry : entries) {
    if (entry.row.average() && !entry.row.interval) {
      board.notes.push_back(entry.row.method.card.title +
                            ": no interval, because its recorded outcomes are missing, do not give its "
                            "accuracy, or are not those of the other rows' examples.");
    }
  }
}

void rank(std::vector<Entry>& entries) {
  for (Entry& entry : entries) {
    if (entry.row.average() && entry.row.group != RowGroup::kReference) {
      entry.row.rank = 1 + std::count_if(entries.begin(), entries.end(), [&](const Entry& other) {
                         return other.row.group == entry.row.group && other.row.average() &&
                                *other.row.average() > *entry.row.average();
                       });
    }
  }
}

// Test examples of each task: those of the first cell that tells.
std::vector<int64_t> count_examples(const BoardCells& cells, const std::vector<Entry>& entries) {
  std::vector<int64_t> counts(cells.tasks.size(), 0);
  for (const Entry& entry : entries) {
    for (size_t i = 0; i < entry.cells->size(); ++i) {
      const Metric* metric = find_metric((*entry.cells)[i], "accuracy", "test");
      int64_t& count = counts[i % cells.tasks.size()];
      count = count == 0 && metric != nullptr ? metric->count : count;
    }
  }
  return counts;
}

bool comes_before(const Row& a, const Row& b) {
  if (a.group != b.group) {
    return a.group < b.group;
  }
  if (a.average().value_or(-1) != b.average().value_or(-1)) {
    return a.average().value_or(-1) > b.average().value_or(-1);
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

Board make_board(const BoardCells& cells, const KnownMethods& methods) {
  Board board;
  board.zoo = cells.zoo;
  board.experts = cells.experts;
  board.shift = cells.shift;
  board.tasks = cells.tasks;
  board.seeds = cells.seeds;
  std::vector<Entry> entries;
  for (const auto& [name, settings] : cells.methods) {
    entries.push_back(make_entry(cells, name, known(methods, name), board));
  }
  board.examples = count_examples(cells, entries);
  board.devices = devices_of(cells);
  normalise(cells, entries);
  compare(cells, entries, board);
  rank(entries);
  for (Entry& entry : entries) {
    board.rows.push_back(std::move(entry.row));
  }
  std::sort(board.rows.begin(), board.rows.end(), comes_before);
  return board;
}

// The size of one model of a zoo is that of the smallest row that yields one model.
void fill_stored_models(std::vector<Board>& boards) {
  std::map<std::string, double> model_size;
  for (const Board& board : boards) {
    for (const Row& row : board.rows) {
      if (row.method.card.yields == Yields::kOneModel && row.setting.stored_parameters.value_or(0) > 0) {
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

KnownMethods registered_methods() {
  KnownMethods methods;
  for (const std::string& name : method_registry().names()) {
    const Method& method = method_registry().at(name);
    methods[name] = {method.card, method.canonical({})};
  }
  return methods;
}

std::vector<Board> make_boards(const std::map<std::string, Result>& results, const KnownMethods& methods) {
  std::vector<Board> boards;
  for (const BoardCells& cells : group_cells(results)) {
    boards.push_back(make_board(cells, methods));
  }
  fill_stored_models(boards);
  return boards;
}

}  // namespace fusegrid
