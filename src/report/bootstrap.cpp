#include "report/bootstrap.h"

#include <algorithm>

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

}  // namespace

std::vector<Resampled> bootstrap_scores(const PairedSums& task, int64_t resamples) {
  FUSEGRID_ASSERT(!task.sizes.empty(), "outcomes of " + task.task);
  std::vector<Resampled> scores(task.sums.size());
  const GroupedSums grouped = by_group(task);
  const uint64_t key = derive_key(0, "report/bootstrap/" + task.task);
  std::vector<uint32_t> drawn(task.sizes.size());
  std::vector<double> sums(grouped.columns);
  for (int64_t resample = 0; resample < resamples; ++resample) {
    draw(key, resample, drawn);
    add_up(grouped, drawn, sums);
    uint64_t examples = 0;
    for (const uint32_t group : drawn) {
      examples += task.sizes[group];
    }
    const double count = static_cast<double>(examples) * static_cast<double>(task.pooled);
    const double* of_model = sums.data();
    for (size_t model = 0; model < scores.size(); ++model) {
      scores[model].push_back(score(task, task.sums[model], of_model, count));
      for (const GroupSums& replicate : task.sums[model]) {
        of_model += replicate.width;
      }
    }
  }
  return scores;
}

}  // namespace fusegrid
