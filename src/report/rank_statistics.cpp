#include "report/rank_statistics.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <boost/math/distributions/fisher_f.hpp>

#include "core/errors.h"

namespace fusegrid {
namespace {

int sign_of(double value) {
  return static_cast<int>(value > 0) - static_cast<int>(value < 0);
}

// P(range of `rows` standard normal numbers <= q), by the trapezoidal rule, which is exact to rounding for such
// integrands: rows * integral of density(z) (F(z) - F(z - q))^(rows - 1).
double range_probability(double q, int64_t rows) {
  constexpr double kEnd = 8;
  constexpr int kSteps = 1600;
  const double step = 2 * kEnd / kSteps;
  const auto below = [](double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); };
  double sum = 0;
  for (int i = 0; i <= kSteps; ++i) {
    const double z = -kEnd + i * step;
    const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    sum += density * std::pow(below(z) - below(z - q), static_cast<double>(rows - 1));
  }
  return static_cast<double>(rows) * sum * step;
}

}  // namespace

std::vector<double> ranks_of(const std::vector<double>& scores) {
  std::vector<double> ranks;
  for (const double score : scores) {
    const auto better = std::count_if(scores.begin(), scores.end(), [&](double s) { return s > score; });
    const auto equal = std::count(scores.begin(), scores.end(), score);
    ranks.push_back(static_cast<double>(better) + (static_cast<double>(equal) + 1) / 2);
  }
  return ranks;
}

std::optional<double> kendall_tau(const std::vector<double>& a, const std::vector<double>& b) {
  FUSEGRID_ASSERT(a.size() == b.size(), "orders of other rows");
  int64_t agreement = 0;
  int64_t ordered_by_a = 0;
  int64_t ordered_by_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const int by_a = sign_of(a[i] - a[j]);
      const int by_b = sign_of(b[i] - b[j]);
      agreement += by_a * by_b;
      ordered_by_a += by_a != 0 ? 1 : 0;
      ordered_by_b += by_b != 0 ? 1 : 0;
    }
  }
  if (ordered_by_a == 0 || ordered_by_b == 0) {
    return std::nullopt;
  }
  return static_cast<double>(agreement) /
         std::sqrt(static_cast<double>(ordered_by_a) * static_cast<double>(ordered_by_b));
}

double studentized_range(int64_t rows) {
  constexpr double kProbability = 0.95;
  double low = 0;
  double high = 16;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (range_probability(middle, rows) < kProbability ? low : high) = middle;
  }
  return (low + high) / 2;
}

RankComparison compare_ranks(const std::vector<std::vector<double>>& scores) {
  const size_t rows = scores.size();
  FUSEGRID_ASSERT(rows >= 2 && scores[0].size() >= 2, "ranks need two rows and two blocks");
  const size_t blocks = scores[0].size();
  RankComparison result;
  result.average_ranks.assign(rows, 0);
  for (size_t block = 0; block < blocks; ++block) {
    std::vector<double> of_block;
    for (const auto& row : scores) {
      of_block.push_back(row[block]);
    }
    const std::vector<double> ranks = ranks_of(of_block);
    for (size_t row = 0; row < rows; ++row) {
      result.average_ranks[row] += ranks[row] / static_cast<double>(blocks);
    }
  }
  const auto k = static_cast<double>(rows);
  const auto n = static_cast<double>(blocks);
  double squares = 0;
  for (const double rank : result.average_ranks) {
    squares += rank * rank;
  }
  const double chi_squared = 12 * n / (k * (k + 1)) * (squares - k * (k + 1) * (k + 1) / 4);
  const double rest = n * (k - 1) - chi_squared;
  // All blocks have the same order: no F is finite.
  result.p = rest <= 1e-9 * n
                 ? 0
                 : boost::math::cdf(boost::math::complement(boost::math::fisher_f(k - 1, (k - 1) * (n - 1)),
                                                            std::max(0.0, (n - 1) * chi_squared / rest)));
  result.critical_difference =
      studentized_range(static_cast<int64_t>(rows)) / std::numbers::sqrt2 * std::sqrt(k * (k + 1) / (6 * n));
  return result;
}

}  // namespace fusegrid
