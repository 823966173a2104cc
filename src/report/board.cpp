#include "report/board.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "core/errors.h"
#include "core/params.h"
#include "core/text.h"
#include "report/settings.h"

namespace fusegrid {
namespace {

// A row while its board is made: with the cells of its chosen setting.
struct Entry {
  Row row;
  const SettingCells* cells = nullptr;
};

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

Entry make_entry(const BoardCells& cells, const std::string& name, const MethodRecord& method, Board& board) {
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
  entry.row.group = group_of(method);
  entry.row.setting = settings[chosen];
  entry.row.tried = static_cast<int64_t>(settings.size());
  entry.row.tuned = tuned_parameters(settings);
  entry.row.at_edge = at_edge(settings, settings[chosen], entry.row.tuned);
  fill_task_accuracies(cells, entry);
  const auto unusable = std::count_if(settings.begin(), settings.end(), [](const Setting& s) {
    return !s.chosen && (!s.gaps.empty() || !s.validation_accuracy);
  });
  if (unusable > 0) {
    board.notes.push_back(method.title + ": " + std::to_string(unusable) + " of " +
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

// The groups of a task's test examples: for each example the position of its group, and the groups' sizes.
struct Grouping {
  std::vector<uint32_t> group_of;
  std::vector<uint32_t> sizes;
};

Grouping grouping_of(const std::vector<uint32_t>& groups) {
  Grouping grouping;
  std::map<uint32_t, uint32_t> positions;
  for (const uint32_t group : groups) {
    const auto [at, fresh] = positions.emplace(group, static_cast<uint32_t>(positions.size()));
    if (fresh) {
      grouping.sizes.push_back(0);
    }
    grouping.group_of.push_back(at->second);
    ++grouping.sizes[at->second];
  }
  return grouping;
}

// As recorded; where nothing is, each example is a group of its own.
Grouping grouping_of(const Records& records, const BoardCells& cells, const std::string& task,
                     int64_t examples) {
  const auto recorded = records.examples.find({cells.zoo, task, "test"});
  if (recorded != records.examples.end()) {
    return grouping_of(recorded->second.groups);
  }
  std::vector<uint32_t> alone(static_cast<size_t>(examples));
  std::iota(alone.begin(), alone.end(), 0U);
  return grouping_of(alone);
}

// How often the row was right in each group of a task, over examples and seeds; empty where that cannot be said.
std::vector<uint32_t> hits_of(const BoardCells& cells, const Entry& entry, size_t task,
                              const Grouping& grouping) {
  std::vector<uint32_t> hits(grouping.sizes.size(), 0);
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    const Outcomes* outcomes = find_outcomes((*entry.cells)[seed * cells.tasks.size() + task]);
    if (outcomes == nullptr || outcomes->rows.size() != grouping.group_of.size()) {
      return {};
    }
    for (size_t e = 0; e < outcomes->rows.size(); ++e) {
      hits[grouping.group_of[e]] += outcomes->rows[e] != 0 ? 1 : 0;
    }
  }
  return hits;
}

// Collects the outcomes of the rows that can be compared example by example; returns those rows.
std::vector<Entry*> pair_outcomes(const BoardCells& cells, const std::vector<Grouping>& groupings,
                                  std::vector<Entry>& entries, std::vector<PairedOutcomes>& paired) {
  for (size_t task = 0; task < cells.tasks.size(); ++task) {
    paired.push_back({cells.tasks[task], groupings[task].sizes, {}});
  }
  std::vector<Entry*> rows;
  for (Entry& entry : entries) {
    std::vector<std::vector<uint32_t>> hits;
    bool usable = entry.row.average().has_value();
    for (size_t task = 0; usable && task < cells.tasks.size(); ++task) {
      hits.push_back(hits_of(cells, entry, task, groupings[task]));
      usable = !hits.back().empty();
    }
    if (!usable) {
      continue;
    }
    for (size_t task = 0; task < cells.tasks.size(); ++task) {
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

void compare(const BoardCells& cells, const std::vector<Grouping>& groupings, std::vector<Entry>& entries,
             Board& board) {
  std::vector<PairedOutcomes> paired;
  const std::vector<Entry*> rows = pair_outcomes(cells, groupings, entries, paired);
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
      board.notes.push_back(entry.row.method.title +
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
  board.seeds = cells.seeds;
  std::vector<Entry> entries;
  for (const auto& [name, settings] : cells.methods) {
    entries.push_back(make_entry(cells, name, described(records, name), board));
  }
  board.examples = count_examples(cells, entries);
  board.devices = devices_of(cells);
  normalise(cells, entries);
  board.same_models = have_same_models(records, cells);
  for (Entry& entry : entries) {
    if (!board.same_models) {
      fill_deviation(cells, entry);
    }
  }
  std::vector<Grouping> groupings;
  for (size_t task = 0; task < cells.tasks.size(); ++task) {
    groupings.push_back(grouping_of(records, cells, cells.tasks[task], board.examples[task]));
    if (records.examples.contains({cells.zoo, cells.tasks[task], "test"})) {
      board.groups.push_back(static_cast<int64_t>(groupings.back().sizes.size()));
    }
  }
  if (board.groups.size() != cells.tasks.size()) {
    board.groups.clear();
  }
  compare(cells, groupings, entries, board);
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
  for (const BoardCells& cells : group_cells(records.results)) {
    boards.push_back(make_board(cells, records));
  }
  fill_stored_models(boards);
  return boards;
}

}  // namespace fusegrid
