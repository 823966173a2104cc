#include "report/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {
namespace {

// A group's size and the hits of all models side by side, [groups][1 + models]: one drawn group adds one contiguous
// row.
std::vector<uint32_t> by_group(const PairedOutcomes& task) {
  const size_t columns = 1 + task.hits.size();
  const size_t groups = task.sizes.size();
  std::vector<uint32_t> rows(columns * groups);
  for (size_t g = 0; g < groups; ++g) {
    rows[g * columns] = task.sizes[g];
  }
  for (size_t m = 0; m < task.hits.size(); ++m) {
    FUSEGRID_ASSERT(task.hits[m].size() == groups, "outcomes of " + task.task + " are not paired");
    for (size_t g = 0; g < groups; ++g) {
      rows[g * columns + 1 + m] = task.hits[m][g];
    }
  }
  return rows;
}

// Examples, and hits of each model, in resample `resample`, added up in `sums`.
void draw(const std::vector<uint32_t>& rows, uint64_t key, int64_t resample, std::vector<uint64_t>& sums) {
  const size_t columns = sums.size();
  const uint64_t groups = rows.size() / columns;
  std::fill(sums.begin(), sums.end(), uint64_t{0});
  uint64_t* out = sums.data();
  for (uint64_t drawn = 0; drawn < groups; drawn += 4) {
    const auto words = philox(key, static_cast<uint64_t>(resample), drawn / 4);
    const uint64_t count = std::min<uint64_t>(4, groups - drawn);
    for (size_t word = 0; word < count; ++word) {
      const uint32_t* row = rows.data() + ((words[word] * groups) >> 32) * columns;
      for (size_t c = 0; c < columns; ++c) {
        out[c] += row[c];
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

std::vector<std::vector<double>> bootstrap_averages(const std::vector<PairedOutcomes>& tasks,
                                                    int64_t replicates, int64_t resamples) {
  const size_t models = tasks.empty() ? 0 : tasks[0].hits.size();
  std::vector<std::vector<double>> averages(models, std::vector<double>(static_cast<size_t>(resamples), 0.0));
  if (models == 0) {
    return averages;
  }
  std::vector<uint64_t> sums(1 + models);
  for (const PairedOutcomes& task : tasks) {
    FUSEGRID_ASSERT(task.hits.size() == models && !task.sizes.empty(), "outcomes of " + task.task);
    const std::vector<uint32_t> rows = by_group(task);
    const uint64_t key = derive_key(0, "report/bootstrap/" + task.task);
    for (int64_t b = 0; b < resamples; ++b) {
      draw(rows, key, b, sums);
      const double total = static_cast<double>(sums[0]) * static_cast<double>(replicates);
      for (size_t m = 0; m < models; ++m) {
        averages[m][static_cast<size_t>(b)] += static_cast<double>(sums[1 + m]) / total;
      }
    }
  }
  for (auto& values : averages) {
    for (double& value : values) {
      value /= static_cast<double>(tasks.size());
    }
  }
  return averages;
}

Interval percentile_interval(std::vector<double> values) {
  FUSEGRID_ASSERT(!values.empty(), "an interval of no values");
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

}  // namespace fusegrid
