// How far an average over tasks and seeds may move with other examples and other seeds.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "report/bootstrap.h"

namespace fusegrid {

struct Interval {
  double low = 0;
  double high = 0;
  bool contains(double value) const { return low <= value && value <= high; }
};

// A variance, and the degrees of freedom that it is estimated with.
struct Variance {
  double value = 0;
  double freedom = 1;
};
// Of a sum of independent numbers with these variances, by Welch and Satterthwaite. Where nothing varies it is 0.
Variance sum_of(const std::vector<Variance>& parts);

// What an average over tasks is made of, or the difference of two averages.
struct Spread {
  std::vector<Resampled> tasks;  // [tasks] the task's score in each resample of its examples
  std::vector<size_t> groups;    // [tasks] that are drawn in a resample of the task
  std::vector<double> by_seed;   // [seeds] the average of each seed
};
// Of a - b, of the same tasks, groups and seeds.
Spread difference(const Spread& a, const Spread& b);

// value +- t sqrt(V), with t the quantile of Student's distribution for a two-sided interval of this level.
//   V   sum over tasks of n / (n - 1) var(task's score over resamples) / tasks^2, with n its groups; and of several
//       seeds their variance divided by their number. Both hold what seeds and examples do together, so V is too large
//       by it rather than too small.
//   t   has the degrees of freedom of Welch and Satterthwaite, from n - 1 of each task and seeds - 1.
// Absent where a task has one group, or is undefined in most resamples.
//   Source  Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 12; Satterthwaite, "An
//           Approximate Distribution of Estimates of Variance Components", 1946.
std::optional<Interval> interval_of(double value, const Spread& spread, double level = 0.95);

}  // namespace fusegrid
