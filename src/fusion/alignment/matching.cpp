#include "fusion/alignment/matching.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
#include "core/philox.h"
#include "core/role.h"
#include "fusion/alignment/assignment.h"

namespace fusegrid {
namespace {

constexpr double kLeastGain = 1e-9;  // of the score so far: less is rounding

// All numbers of a model that make or read the units of a group: float64 [units, numbers]. move: what becomes of a
// tensor along its axes of other groups.
template <typename Move>
at::Tensor unit_rows(const Weights& weights, const AxisGroup& group, const AxesByTensor& axes,
                     const Move& move) {
  std::vector<at::Tensor> rows;
  for (const AxisGroup::Axis& own : group.axes) {
    const at::Tensor& tensor = weights.at(own.tensor);
    if (is_running_statistic(own.tensor, tensor)) {
      continue;
    }
    std::vector<AxisOfGroup> others;
    for (const AxisOfGroup& along : axes.at(own.tensor)) {
      if (along.axis != own.axis) {
        others.push_back(along);
      }
    }
    rows.push_back(move(tensor, others).movedim(own.axis, 0).reshape({group.size, -1}).to(at::kDouble));
  }
  return concatenate(rows, 1);
}

at::Tensor aligned_rows(const Weights& weights, const AxisGroup& group, const AxesByTensor& axes,
                        const Alignment& current) {
  return unit_rows(weights, group, axes,
                   [&](const at::Tensor& tensor, const std::vector<AxisOfGroup>& others) {
                     return permuted(tensor, others, current);
                   });
}

at::Tensor standardised(const at::Tensor& rows) {
  const at::Tensor centred = rows - rows.mean(1, /*keepdim=*/true);
  const at::Tensor norms = centred.norm(2, {1}, /*keepdim=*/true);
  return centred / norms.masked_fill(norms == 0, 1);
}

double matched_sum(const at::Tensor& scores, const Permutation& permutation) {
  const double* entries = scores.const_data_ptr<double>();
  const auto n = static_cast<size_t>(scores.size(0));
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    sum += entries[i * n + static_cast<size_t>(permutation[i])];
  }
  return sum;
}

class Descent {
 public:
  Descent(const std::vector<AxisGroup>& groups, const UnitScores& scores, Alignment start,
          const std::function<void()>& tick, int64_t patience)
      : groups_(groups), scores_(scores), tick_(tick), patience_(patience), current_(std::move(start)) {}

  Matching run() {
    Matching best{current_, 0, -std::numeric_limits<double>::infinity()};
    int64_t since_best = 0;
    for (int64_t sweep = 1; sweep <= kMostSweeps && since_best < patience_; ++sweep) {
      changed_ = false;
      const double score = swept(sweep);
      if (!changed_) {
        return {current_, sweep, score};
      }
      since_best = score > best.score ? 0 : since_best + 1;
      if (since_best == 0) {
        best = {current_, sweep, score};
      }
    }
    return best;
  }

 private:
  // One visit of all groups; returns the mean score of units that are matched after it.
  double swept(int64_t sweep) {
    double sum = 0;
    for (const int64_t index : visits_of_sweep(sweep, groups_.size())) {
      const AxisGroup& group = groups_[static_cast<size_t>(index)];
      const at::Tensor scores = scores_(group, current_).to(at::kCPU, at::kDouble).contiguous();
      Permutation& own = current_.at(group.name);
      Permutation better = best_assignment(scores);
      double before = matched_sum(scores, own);
      const double after = matched_sum(scores, better);
      if (after > before + kLeastGain * std::abs(before)) {
        own = std::move(better);
        before = after;
        changed_ = true;
      }
      sum += before / static_cast<double>(group.size);
      tick_();
    }
    return sum / static_cast<double>(groups_.size());
  }

  const std::vector<AxisGroup>& groups_;
  const UnitScores& scores_;
  const std::function<void()>& tick_;
  int64_t patience_;
  Alignment current_;
  bool changed_ = false;
};

}  // namespace

UnitScores weight_products(const Weights& first, const Weights& second,
                           const std::vector<AxisGroup>& groups) {
  return [&first, &second, axes = axes_by_tensor(groups)](const AxisGroup& group, const Alignment& current) {
    return at::matmul(aligned_rows(first, group, axes, {}), aligned_rows(second, group, axes, current).t());
  };
}

UnitScores weight_correlations(const Weights& first, const Weights& second,
                               const std::vector<AxisGroup>& groups) {
  return [&first, &second, axes = axes_by_tensor(groups)](const AxisGroup& group, const Alignment& current) {
    return at::matmul(standardised(aligned_rows(first, group, axes, {})),
                      standardised(aligned_rows(second, group, axes, current)).t());
  };
}

at::Tensor weight_correlations(const std::vector<Weights>& models, const AxisGroup& group,
                               const AxesByTensor& axes, const std::vector<UnitMaps>& maps) {
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < models.size(); ++i) {
    const auto move = [&](const at::Tensor& tensor, const std::vector<AxisOfGroup>& others) {
      return mapped(tensor, others, maps[i]);
    };
    rows.push_back(standardised(unit_rows(models[i], group, axes, move)));
  }
  const at::Tensor all = concatenate(rows);
  return at::matmul(all, all.t());
}

std::vector<int64_t> visits_of_sweep(int64_t sweep, size_t groups) {
  return permutation(derive_key(0, "matching"), static_cast<uint64_t>(sweep), static_cast<int64_t>(groups));
}

Matching match(const std::vector<AxisGroup>& groups, const UnitScores& scores, const Alignment& start,
               const std::function<void()>& tick, int64_t patience) {
  return Descent(groups, scores, start, tick, patience).run();
}

}  // namespace fusegrid
