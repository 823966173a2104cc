// How firm an order is: average ranks, how far apart they must be, and whether two orders agree.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace fusegrid {

// 1 for the best, and the mean of their places for equal values. scores: more is better.
std::vector<double> ranks_of(const std::vector<double>& scores);

// Kendall's tau-b of two lists of scores of the same rows: 1 for the same order, -1 for the reverse. Absent where one
// of the lists has no two different values.
std::optional<double> kendall_tau(const std::vector<double>& a, const std::vector<double>& b);

// The 95 % quantile of the range of `rows` independent standard normal numbers. rows: 2 or more.
double studentized_range(int64_t rows);

// Friedman's comparison of rows over blocks, which are tasks.
//   Source  Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, section 3.2.2.
struct RankComparison {
  std::vector<double> average_ranks;  // [rows]
  double p = 1;                       // of no difference at all (Iman and Davenport's F)
  double critical_difference = 0;     // of two average ranks, at 5 % (Nemenyi)
};
// scores: [rows][blocks], more is better; two rows and two blocks or more.
RankComparison compare_ranks(const std::vector<std::vector<double>>& scores);

}  // namespace fusegrid
