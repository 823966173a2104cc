#include "report/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {
namespace {

// The hits of all models side by side, [examples][models]: one drawn example adds one contiguous row.
std::vector<uint16_t> by_example(const PairedOutcomes& task) {
  const size_t models = task.hits.size();
  const auto examples = static_cast<size_t>(task.examples);
  std::vector<uint16_t> rows(models * examples);
  for (size_t m = 0; m < models; ++m) {
    FUSEGRID_ASSERT(task.hits[m].size() == examples, "outcomes of " + task.task + " are not paired");
    for (size_t e = 0; e < examples; ++e) {
      rows[e * models + m] = task.hits[m][e];
    }
  }
  return rows;
}

// Hits of each model in resample `resample`, added up in `sums`.
void draw(const std::vector<uint16_t>& rows, const PairedOutcomes& task, uint64_t key, int64_t resample,
          std::vector<uint32_t>& sums) {
  const size_t models = sums.size();
  const auto examples = static_cast<uint64_t>(task.examples);
  std::fill(sums.begin(), sums.end(), 0U);
  uint32_t* out = sums.data();
  for (uint64_t drawn = 0; drawn < examples; drawn += 4) {
    const auto words = philox(key, static_cast<uint64_t>(resample), drawn / 4);
    const uint64_t count = std::min<uint64_t>(4, examples - drawn);
    for (size_t word = 0; word < count; ++word) {
      const uint16_t* row = rows.data() + ((words[word] * examples) >> 32) * models;
      for (size_t m = 0; m < models; ++m) {
        out[m] += row[m];
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
  std::vector<uint32_t> sums(models);
  for (const PairedOutcomes& task : tasks) {
    FUSEGRID_ASSERT(task.hits.size() == models && task.examples > 0, "outcomes of " + task.task);
    const std::vector<uint16_t> rows = by_example(task);
    const uint64_t key = derive_key(0, "report/bootstrap/" + task.task);
    const double total = static_cast<double>(task.examples) * static_cast<double>(replicates);
    for (int64_t b = 0; b < resamples; ++b) {
      draw(rows, task, key, b, sums);
      for (size_t m = 0; m < models; ++m) {
        averages[m][static_cast<size_t>(b)] += sums[m] / total;
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
