#include "report/interval.h"

#include <cmath>

#include <boost/math/distributions/students_t.hpp>

#include "core/errors.h"

namespace fusegrid {
namespace {

// Divided by one less than their number.
double variance_of(const std::vector<double>& values) {
  double mean = 0;
  for (const double value : values) {
    mean += value;
  }
  mean /= static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return squares / static_cast<double>(values.size() - 1);
}

// n groups that are drawn from n have (n - 1) / n of the variance of n groups that are drawn from all there are.
std::optional<Variance> variance_of_task(const Resampled& scores, size_t groups) {
  std::vector<double> defined;
  for (const std::optional<double>& score : scores) {
    if (score) {
      defined.push_back(*score);
    }
  }
  if (groups < 2 || defined.size() < 2 || 2 * defined.size() < scores.size()) {
    return std::nullopt;
  }
  const auto n = static_cast<double>(groups);
  return Variance{variance_of(defined) * n / (n - 1), n - 1};
}

double t_quantile(double freedom, double level) {
  return boost::math::quantile(boost::math::students_t(freedom), (1 + level) / 2);
}

}  // namespace

Variance sum_of(const std::vector<Variance>& parts) {
  double variance = 0;
  double uncertainty = 0;
  for (const Variance& part : parts) {
    variance += part.value;
    uncertainty += part.value * part.value / part.freedom;
  }
  return uncertainty > 0 ? Variance{variance, variance * variance / uncertainty} : Variance{};
}

Spread difference(const Spread& a, const Spread& b) {
  FUSEGRID_ASSERT(a.groups == b.groups && a.by_seed.size() == b.by_seed.size(), "averages of other tasks");
  Spread result = a;
  for (size_t task = 0; task < a.tasks.size(); ++task) {
    for (size_t i = 0; i < a.tasks[task].size(); ++i) {
      const std::optional<double>& one = a.tasks[task][i];
      const std::optional<double>& other = b.tasks[task][i];
      result.tasks[task][i] = one && other ? std::optional(*one - *other) : std::nullopt;
    }
  }
  for (size_t seed = 0; seed < a.by_seed.size(); ++seed) {
    result.by_seed[seed] -= b.by_seed[seed];
  }
  return result;
}

std::optional<Interval> interval_of(double value, const Spread& spread, double level) {
  std::vector<Variance> parts;
  const auto tasks = static_cast<double>(spread.tasks.size());
  for (size_t task = 0; task < spread.tasks.size(); ++task) {
    const std::optional<Variance> part = variance_of_task(spread.tasks[task], spread.groups[task]);
    if (!part) {
      return std::nullopt;
    }
    parts.push_back({part->value / (tasks * tasks), part->freedom});
  }
  if (const size_t seeds = spread.by_seed.size(); seeds > 1) {
    const auto count = static_cast<double>(seeds);
    parts.push_back({variance_of(spread.by_seed) / count, count - 1});
  }
  const Variance sum = sum_of(parts);
  const double width = sum.value > 0 ? t_quantile(sum.freedom, level) * std::sqrt(sum.value) : 0;
  return Interval{value - width, value + width};
}

}  // namespace fusegrid
