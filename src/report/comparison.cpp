#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/text.h"

namespace fusegrid {
namespace {

// The row of a group with the best average, the first of equals; nullptr in an empty group.
Entry* best_of(Better better, Average Row::*average, std::vector<Entry>& entries, RowGroup group) {
  Entry* best = nullptr;
  for (Entry& entry : entries) {
    const auto& value = (entry.row.*average).value;
    if (entry.row.group == group && value &&
        (best == nullptr || is_better(better, *value, *(best->row.*average).value))) {
      best = &entry;
    }
  }
  return best;
}

// A row that can be compared example by example.
struct SpreadRow {
  Entry* entry = nullptr;
  Spread spread = {};
};

// Of each seed, the average over the tasks. Of an entry whose average has a value.
std::vector<double> averages_by_seed(const BoardCells& cells, const Averaged& of, const Entry& entry) {
  std::vector<double> averages;
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    double sum = 0;
    for (const size_t task : of.tasks) {
      sum += score_of(cells, *entry.cells, seed * cells.tasks.size() + task, "test").value();
    }
    averages.push_back(sum / static_cast<double>(of.tasks.size()));
  }
  return averages;
}

// A row of a group of m is compared with the best of them, one of m - 1 comparisons, of which one in twenty boards may
// be wrong in any (Bonferroni).
void mark_ties(Average Row::*average, const std::vector<SpreadRow>& rows, const Entry& best) {
  const auto top =
      std::find_if(rows.begin(), rows.end(), [&](const SpreadRow& row) { return row.entry == &best; });
  const auto in_group = std::count_if(
      rows.begin(), rows.end(), [&](const SpreadRow& row) { return row.entry->row.group == best.row.group; });
  if (top == rows.end() || in_group < 2) {
    return;
  }
  constexpr double kWrong = 0.05;
  const double level = 1 - kWrong / static_cast<double>(in_group - 1);
  for (const SpreadRow& other : rows) {
    Row& row = other.entry->row;
    if (other.entry == &best || row.group != best.row.group) {
      continue;
    }
    const double behind = *(row.*average).value - *(best.row.*average).value;
    const auto interval = interval_of(behind, difference(other.spread, top->spread), level);
    (row.*average).tied = interval && interval->contains(0);
  }
}

// The rows with this average that can be compared example by example.
std::vector<SpreadRow> resample(const Records& records, const BoardCells& cells, const Averaged& of,
                                const std::vector<Grouping>& groupings, std::vector<Entry>& entries) {
  std::vector<Entry*> complete;
  std::vector<const SettingCells*> settings;
  for (Entry& entry : entries) {
    if ((entry.row.*of.average).value) {
      complete.push_back(&entry);
      settings.push_back(entry.cells);
    }
  }
  const Paired paired = pair_settings(records, cells, of.tasks, groupings, settings);
  std::vector<SpreadRow> rows;
  for (const size_t setting : paired.settings) {
    rows.push_back({complete[setting], {{}, {}, averages_by_seed(cells, of, *complete[setting])}});
  }
  if (rows.empty()) {
    return rows;
  }
  for (const PairedSums& task : paired.tasks) {
    std::vector<Resampled> scores = bootstrap_scores(task);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].spread.tasks.push_back(std::move(scores[i]));
      rows[i].spread.groups.push_back(task.sizes.size());
    }
  }
  return rows;
}

// Fractions end at 0 and 1.
Interval within_unit(const Score& score, Interval interval) {
  if (score.unit == to_string(Unit::kFraction) && !score.relative) {
    interval = {std::max(interval.low, 0.0), std::min(interval.high, 1.0)};
  }
  return interval;
}

// Tasks of which no row has outcomes of single examples: a command that answers them need not say any.
std::vector<std::string> without_outcomes(const Records& records, const BoardCells& cells, const Averaged& of,
                                          const std::vector<Entry>& entries) {
  std::vector<std::string> tasks;
  for (const size_t task : of.tasks) {
    const bool some = std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
      return rows_of(records, cells, *entry.cells, task, "test").has_value();
    });
    if (!some) {
      tasks.push_back(cells.tasks[task]);
    }
  }
  return tasks;
}

// Why rows with an average have no interval; `rows`: those that were resampled.
void note_missing_intervals(const Records& records, const BoardCells& cells, const Averaged& of,
                            const std::vector<Grouping>& groupings, const std::vector<Entry>& entries,
                            const std::vector<SpreadRow>& rows, Board& board) {
  const std::string where = of.is_unseen() ? " on unseen tasks" : "";
  std::set<std::string> unknown;
  for (const size_t task : of.tasks) {
    if (cells.metrics[task].rule == nullptr) {
      unknown.insert(cells.metrics[task].name);
    }
  }
  if (!unknown.empty()) {
    board.notes.push_back("No intervals" + where + ", because this program does not know the metric " +
                          join({unknown.begin(), unknown.end()}, ", ") + ".");
    return;
  }
  const auto silent = without_outcomes(records, cells, of, entries);
  const bool any = std::any_of(entries.begin(), entries.end(),
                               [&](const Entry& entry) { return (entry.row.*of.average).value.has_value(); });
  if (any && !silent.empty()) {
    board.notes.push_back("No intervals" + where +
                          ", because no outcomes of single examples are recorded of " + join(silent, ", ") +
                          ".");
    return;
  }
  std::vector<std::string> alone;
  for (const size_t task : of.tasks) {
    if (groupings[task].groups.size() == 1) {
      alone.push_back(cells.tasks[task]);
    }
  }
  if (any && !alone.empty()) {
    board.notes.push_back("No intervals" + where +
                          ", because all test examples are one group, which cannot vary, of " +
                          join(alone, ", ") + ".");
    return;
  }
  for (const Entry& entry : entries) {
    const Average& average = entry.row.*of.average;
    if (!average.value || average.interval) {
      continue;
    }
    const bool resampled =
        std::any_of(rows.begin(), rows.end(), [&](const SpreadRow& row) { return row.entry == &entry; });
    const std::string scores = cells.score.relative ? "scores" : cells.score.name;
    board.notes.push_back(
        entry.row.method.title + where +
        (resampled
             ? ": no interval, because most resamples of the examples leave its " + scores + " undefined."
             : ": no interval, because its recorded outcomes are missing, do not give its " + scores +
                   ", or are not those of the other rows' examples."));
  }
}

}  // namespace

std::vector<Averaged> averages_of(const BoardCells& cells) {
  std::vector<Averaged> averages{{&Row::average, cells.seen}};
  if (!cells.unseen.empty()) {
    averages.push_back({&Row::unseen, cells.unseen});
  }
  return averages;
}

void fill_deviation(const BoardCells& cells, const Averaged& of, Entry& entry) {
  Average& average = entry.row.*of.average;
  if (!average.value || cells.seeds.size() < 2) {
    return;
  }
  double squares = 0;
  for (const double of_seed : averages_by_seed(cells, of, entry)) {
    squares += (of_seed - *average.value) * (of_seed - *average.value);
  }
  average.deviation = std::sqrt(squares / static_cast<double>(cells.seeds.size() - 1));
}

void compare(const Records& records, const BoardCells& cells, const Averaged& of,
             const std::vector<Grouping>& groupings, std::vector<Entry>& entries, Board& board) {
  const std::vector<SpreadRow> rows = resample(records, cells, of, groupings, entries);
  for (const SpreadRow& row : rows) {
    Average& average = row.entry->row.*of.average;
    if (const auto interval = interval_of(*average.value, row.spread)) {
      average.interval = within_unit(cells.score, *interval);
    }
  }
  for (const RowGroup group : {RowGroup::kTaskUnknown, RowGroup::kTaskKnown}) {
    if (Entry* best = best_of(cells.score.better, of.average, entries, group); best != nullptr) {
      (best->row.*of.average).best = true;
      mark_ties(of.average, rows, *best);
    }
  }
  note_missing_intervals(records, cells, of, groupings, entries, rows, board);
}

}  // namespace fusegrid
