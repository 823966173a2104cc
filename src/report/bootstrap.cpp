#include "report/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {
namespace {

// The sums of all models and replicates of a task, side by side in columns, by group.
struct GroupedSums {
  struct Entry {
    uint32_t column = 0;
    double value = 0;
  };
  std::vector<size_t> begin;   // [groups + 1]
  std::vector<Entry> entries;  // of group g: [begin[g], begin[g + 1])
  size_t columns = 0;
};

GroupedSums by_group(const PairedSums& task) {
  GroupedSums grouped;
  grouped.begin.assign(task.sizes.size() + 1, 0);
  for (const auto& replicates : task.sums) {
    for (const GroupSums& sums : replicates) {
      for (const GroupSums::Entry& entry : sums.entries) {
        ++grouped.begin[entry.group + 1];
      }
    }
  }
  for (size_t g = 0; g < task.sizes.size(); ++g) {
    grouped.begin[g + 1] += grouped.begin[g];
  }
  grouped.entries.resize(grouped.begin.back());
  std::vector<size_t> next(grouped.begin.begin(), grouped.begin.end() - 1);
  for (const auto& replicates : task.sums) {
    for (const GroupSums& sums : replicates) {
      for (const GroupSums::Entry& entry : sums.entries) {
        grouped.entries[next[entry.group]++] = {static_cast<uint32_t>(grouped.columns + entry.column),
                                                entry.value};
      }
      grouped.columns += sums.width;
    }
  }
  return grouped;
}

// The groups of resample `resample`, in the order in which they are drawn.
void draw(uint64_t key, int64_t resample, std::vector<uint32_t>& drawn) {
  const uint64_t groups = drawn.size();
  for (uint64_t first = 0; first < groups; first += 4) {
    const auto words = philox(key, static_cast<uint64_t>(resample), first / 4);
    const uint64_t count = std::min<uint64_t>(4, groups - first);
    for (size_t word = 0; word < count; ++word) {
      drawn[first + word] = static_cast<uint32_t>((words[word] * groups) >> 32);
    }
  }
}

// The sums of all columns over the drawn groups.
void add_up(const GroupedSums& grouped, const std::vector<uint32_t>& drawn, std::vector<double>& sums) {
  std::fill(sums.begin(), sums.end(), 0.0);
  for (const uint32_t group : drawn) {
    for (size_t i = grouped.begin[group]; i < grouped.begin[group + 1]; ++i) {
      sums[grouped.entries[i].column] += grouped.entries[i].value;
    }
  }
}

// Mean score of a model's replicates, whose sums begin at `sums`.
std::optional<double> score(const PairedSums& task, const std::vector<GroupSums>& replicates,
                            const double* sums, double examples) {
  double total = 0;
  for (size_t r = 0; r < replicates.size(); ++r) {
    const std::optional<double> value = task.finish({sums, replicates[r].width}, examples);
    if (!value) {
      return std::nullopt;
    }
    total += task.scores[r].offset + task.scores[r].slope * *value;
    sums += replicates[r].width;
  }
  return total / static_cast<double>(replicates.size());
}

// Adds a task's score to each resample of each model.
void add_task(const PairedSums& task, std::vector<Resampled>& totals) {
  const GroupedSums grouped = by_group(task);
  const uint64_t key = derive_key(0, "report/bootstrap/" + task.task);
  std::vector<uint32_t> drawn(task.sizes.size());
  std::vector<double> sums(grouped.columns);
  for (size_t b = 0; b < totals[0].size(); ++b) {
    draw(key, static_cast<int64_t>(b), drawn);
    add_up(grouped, drawn, sums);
    uint64_t examples = 0;
    for (const uint32_t group : drawn) {
      examples += task.sizes[group];
    }
    const double count = static_cast<double>(examples) * static_cast<double>(task.pooled);
    const double* of_model = sums.data();
    for (size_t m = 0; m < totals.size(); ++m) {
      std::optional<double>& total = totals[m][b];
      const std::optional<double> of_task = score(task, task.sums[m], of_model, count);
      total = total && of_task ? std::optional(*total + *of_task) : std::nullopt;
      for (const GroupSums& replicate : task.sums[m]) {
        of_model += replicate.width;
      }
    }
  }
}

double quantile(const std::vector<double>& sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(position));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - std::floor(position)) * (sorted[above] - sorted[below]);
}

}  // namespace

std::vector<Resampled> bootstrap_scores(const std::vector<PairedSums>& tasks, int64_t resamples) {
  const size_t models = tasks.empty() ? 0 : tasks[0].sums.size();
  std::vector<Resampled> scores(models, Resampled(static_cast<size_t>(resamples), 0.0));
  if (models == 0) {
    return scores;
  }
  for (const PairedSums& task : tasks) {
    FUSEGRID_ASSERT(task.sums.size() == models && !task.sizes.empty(), "outcomes of " + task.task);
    add_task(task, scores);
  }
  for (Resampled& values : scores) {
    for (std::optional<double>& value : values) {
      value = value ? std::optional(*value / static_cast<double>(tasks.size())) : std::nullopt;
    }
  }
  return scores;
}

std::optional<Interval> percentile_interval(const Resampled& values) {
  std::vector<double> sorted;
  for (const std::optional<double>& value : values) {
    if (value) {
      sorted.push_back(*value);
    }
  }
  if (sorted.empty() || 2 * sorted.size() < values.size()) {
    return std::nullopt;
  }
  std::sort(sorted.begin(), sorted.end());
  return Interval{quantile(sorted, 0.025), quantile(sorted, 0.975)};
}

}  // namespace fusegrid
