#include "core/linear_program.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr double kZero = 1e-12;     // entries are scaled to 1
constexpr double kFeasible = 1e-7;  // by which the rows together may miss their bounds
constexpr size_t kArtificial = SIZE_MAX;

using Row = std::vector<double>;

// Equations over columns that are >= 0, right sides last; the last row has the reduced costs. basis: of each equation,
// the column that is its right side.
struct Tableau {
  std::vector<Row> rows;
  std::vector<size_t> basis;

  void pivot(size_t row, size_t column) {
    const double divisor = rows[row][column];
    for (double& entry : rows[row]) {
      entry /= divisor;
    }
    for (Row& other : rows) {
      const double factor = other[column];
      for (size_t j = 0; &other != &rows[row] && j < other.size(); ++j) {
        other[j] -= factor * rows[row][j];
      }
    }
    basis[row] = column;
  }
  void maximise() {
    const auto entering = [&] {  // the first that makes the costs larger
      const auto end = rows.back().end() - 1;
      return std::find_if(rows.back().begin(), end, [](double cost) { return cost > kZero; }) -
             rows.back().begin();
    };
    for (auto j = static_cast<size_t>(entering()); j + 1 < rows.back().size();
         j = static_cast<size_t>(entering())) {
      size_t leaving = kArtificial;
      for (size_t i = 0; i < basis.size(); ++i) {
        const auto ratio = [&](size_t row) { return rows[row].back() / rows[row][j]; };
        if (rows[i][j] > kZero && (leaving == kArtificial || ratio(i) < ratio(leaving) ||
                                   (ratio(i) == ratio(leaving) && basis[i] < basis[leaving]))) {
          leaving = i;
        }
      }
      FUSEGRID_ASSERT(leaving != kArtificial, "a program on a simplex is bounded");
      pivot(leaving, j);
    }
  }
};

double largest(const Row& values) {
  double most = 0;
  for (const double value : values) {
    most = std::max(most, std::abs(value));
  }
  return most;
}

}  // namespace

std::optional<Row> maximise_on_simplex(const Row& objective, const std::vector<Row>& rows,
                                       const Row& bounds) {
  const size_t n = objective.size(), columns = n + rows.size();
  Tableau t{{Row(columns + 1, 0)}, {kArtificial}};
  std::fill_n(t.rows[0].begin(), n, 1);
  t.rows[0].back() = 1;
  for (size_t k = 0; k < rows.size(); ++k) {
    const double scale = std::max(largest(rows[k]), std::abs(bounds[k]));
    if (scale > 0) {
      Row equation(columns + 1, 0);
      const double sign = bounds[k] < 0 ? -1 : 1;
      for (size_t j = 0; j < n; ++j) {
        equation[j] = sign * rows[k][j] / scale;
      }
      equation[n + k] = -sign;  // what it exceeds its bound by
      equation.back() = sign * bounds[k] / scale;
      t.rows.push_back(equation);
      t.basis.push_back(kArtificial);
    }
  }
  Row infeasible(columns + 1, 0);  // what artificial columns hold is made as small as can be
  for (const Row& row : t.rows) {
    for (size_t j = 0; j <= columns; ++j) {
      infeasible[j] += row[j];
    }
  }
  t.rows.push_back(infeasible);
  t.maximise();
  if (t.rows.back().back() > kFeasible) {
    return std::nullopt;
  }
  t.rows.back().assign(columns + 1, 0);
  const double scale = std::max(largest(objective), kZero);
  for (size_t j = 0; j < n; ++j) {
    t.rows.back()[j] = objective[j] / scale;
  }
  for (size_t i = 0; i < t.basis.size(); ++i) {
    const auto begin = t.rows[i].begin(), end = t.rows[i].end() - 1;
    const auto some = std::find_if(begin, end, [](double entry) { return std::abs(entry) > kZero; });
    const size_t column =
        t.basis[i] == kArtificial && some != end ? static_cast<size_t>(some - begin) : t.basis[i];
    if (column != kArtificial) {  // else the row says nothing
      t.pivot(i, column);
    }
  }
  t.maximise();
  Row x(n, 0);
  for (size_t i = 0; i < t.basis.size(); ++i) {
    if (t.basis[i] < n) {
      x[t.basis[i]] = std::max(t.rows[i].back(), 0.0);
    }
  }
  return x;
}

}  // namespace fusegrid
