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

void mark_ties(Average Row::*average, const std::vector<Entry*>& rows, const std::vector<Resampled>& averages,
               const Entry& best) {
  const auto at = std::find(rows.begin(), rows.end(), &best);
  if (at == rows.end()) {
    return;
  }
  const Resampled& top = averages[static_cast<size_t>(at - rows.begin())];
  for (size_t i = 0; i < rows.size(); ++i) {
    Row& row = rows[i]->row;
    if (rows[i] == &best || row.group != best.row.group) {
      continue;
    }
    Resampled differences(top.size());
    for (size_t b = 0; b < top.size(); ++b) {
      if (averages[i][b] && top[b]) {
        differences[b] = *averages[i][b] - *top[b];
      }
    }
    const auto interval = percentile_interval(differences);
    (row.*average).tied = interval && interval->low <= 0 && interval->high >= 0;
  }
}

// The rows with this average that can be compared example by example, and their averages in each resample.
std::pair<std::vector<Entry*>, std::vector<Resampled>> resample(const Records& records,
                                                                const BoardCells& cells, const Averaged& of,
                                                                const std::vector<Grouping>& groupings,
                                                                std::vector<Entry>& entries) {
  std::vector<Entry*> complete;
  std::vector<const SettingCells*> settings;
  for (Entry& entry : entries) {
    if ((entry.row.*of.average).value) {
      complete.push_back(&entry);
      settings.push_back(entry.cells);
    }
  }
  const Paired paired = pair_settings(records, cells, of.tasks, groupings, settings);
  std::vector<Entry*> rows;
  for (const size_t setting : paired.settings) {
    rows.push_back(complete[setting]);
  }
  return {rows, bootstrap_scores(paired.tasks)};
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
                            const std::vector<Entry>& entries, const std::vector<Entry*>& rows,
                            Board& board) {
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
  for (const Entry& entry : entries) {
    const Average& average = entry.row.*of.average;
    if (!average.value || average.interval) {
      continue;
    }
    const bool resampled = std::find(rows.begin(), rows.end(), &entry) != rows.end();
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
  for (size_t seed = 0; seed < cells.seeds.size(); ++seed) {
    double sum = 0;
    for (const size_t task : of.tasks) {
      sum += score_of(cells, *entry.cells, seed * cells.tasks.size() + task, "test").value();
    }
    const double difference = sum / static_cast<double>(of.tasks.size()) - *average.value;
    squares += difference * difference;
  }
  average.deviation = std::sqrt(squares / static_cast<double>(cells.seeds.size() - 1));
}

void compare(const Records& records, const BoardCells& cells, const Averaged& of,
             const std::vector<Grouping>& groupings, std::vector<Entry>& entries, Board& board) {
  const auto [rows, averages] = resample(records, cells, of, groupings, entries);
  for (size_t i = 0; i < rows.size(); ++i) {
    (rows[i]->row.*of.average).interval = percentile_interval(averages[i]);
  }
  for (const RowGroup group : {RowGroup::kTaskUnknown, RowGroup::kTaskKnown}) {
    if (Entry* best = best_of(cells.score.better, of.average, entries, group); best != nullptr) {
      (best->row.*of.average).best = true;
      mark_ties(of.average, rows, averages, *best);
    }
  }
  note_missing_intervals(records, cells, of, entries, rows, board);
}

}  // namespace fusegrid
