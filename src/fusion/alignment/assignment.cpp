#include "fusion/alignment/assignment.h"

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/isfinite.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr double kPreferenceForStaying = 1e-10;  // in units of the largest score

// Rows get columns one after the other, so that what has a column is always the cheapest assignment of those rows. The
// potentials u (rows) and v (columns) keep the reduced costs c[i][j] - u[i] - v[j] >= 0, and = 0 on the assignment.
class Assignment {
 public:
  explicit Assignment(const at::Tensor& costs)
      : costs_(costs.const_data_ptr<double>()),
        n_(static_cast<size_t>(costs.size(0))),
        row_of_(n_, kNone),
        u_(n_, 0),
        v_(n_, 0) {}

  std::vector<int64_t> solve() {
    for (size_t row = 0; row < n_; ++row) {
      add(row);
    }
    std::vector<int64_t> columns(n_);
    for (size_t column = 0; column < n_; ++column) {
      columns[row_of_[column]] = static_cast<int64_t>(column);
    }
    return columns;
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  // Dijkstra's search over columns for the cheapest way from `row` to a column without a row; the rows on the way then
  // move by one column each.
  void add(size_t row) {
    std::vector<double> distance(n_, std::numeric_limits<double>::infinity());
    std::vector<size_t> before(n_, kNone);  // the column before this one on the way
    std::vector<bool> reached(n_, false);
    size_t from = kNone;  // a column that is reached, whose row looks further; none: `row` itself
    size_t looking = row;
    double so_far = 0;
    while (true) {
      size_t next = kNone;
      for (size_t column = 0; column < n_; ++column) {
        if (reached[column]) {
          continue;
        }
        const double through = so_far + costs_[looking * n_ + column] - u_[looking] - v_[column];
        if (through < distance[column]) {
          distance[column] = through;
          before[column] = from;
        }
        if (next == kNone || distance[column] < distance[next]) {
          next = column;
        }
      }
      so_far = distance[next];
      reached[next] = true;
      if (row_of_[next] == kNone) {
        update_potentials(row, reached, distance, so_far);
        move_along(row, before, next);
        return;
      }
      from = next;
      looking = row_of_[next];
    }
  }

  void update_potentials(size_t row, const std::vector<bool>& reached, const std::vector<double>& distance,
                         double length) {
    u_[row] += length;
    for (size_t column = 0; column < n_; ++column) {
      if (reached[column] && row_of_[column] != kNone) {
        u_[row_of_[column]] += length - distance[column];
        v_[column] -= length - distance[column];
      }
    }
  }

  void move_along(size_t row, const std::vector<size_t>& before, size_t last) {
    size_t column = last;
    while (before[column] != kNone) {
      row_of_[column] = row_of_[before[column]];
      column = before[column];
    }
    row_of_[column] = row;
  }

  const double* costs_;
  size_t n_;
  std::vector<size_t> row_of_;  // of each column
  std::vector<double> u_, v_;
};

}  // namespace

std::vector<int64_t> best_assignment(const at::Tensor& scores) {
  FUSEGRID_ASSERT(scores.dim() == 2 && scores.size(0) == scores.size(1), "scores of an assignment");
  const int64_t n = scores.size(0);
  if (n == 0) {
    return {};
  }
  const at::Tensor known = scores.detach().to(at::kCPU, at::kDouble);
  if (!at::isfinite(known).all().item<bool>()) {
    throw DataError(
        "units can only be matched by finite scores, but some are NaN or infinite; look for such weights or "
        "activations in the experts");
  }
  const double staying = kPreferenceForStaying * known.abs().max().item<double>();
  const at::Tensor costs = (-known - at::eye(n, known.options()) * staying).contiguous();
  return Assignment(costs).solve();
}

}  // namespace fusegrid
