#include "fusion/alignment/cycle_consistent.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include "core/role.h"
#include "fusion/alignment/assignment.h"
#include "fusion/alignment/unit_maps.h"

namespace fusegrid {
namespace {

constexpr double kGain = 1e-5;
constexpr int kGrid = 1000;  // step lengths that are compared

using Plans = std::vector<std::map<std::string, at::Tensor>>;  // by model and group, [common units, units]

UnitMaps as_maps(const std::map<std::string, at::Tensor>& plans) {
  UnitMaps maps;
  for (const auto& [group, plan] : plans) {
    maps[group] = {plan, plan.t()};
  }
  return maps;
}

// [units, numbers]
at::Tensor rows_along(const at::Tensor& tensor, const AxisOfGroup& along) {
  return tensor.movedim(along.axis, 0).reshape({along.size, -1});
}

// Adds to the coefficient of a power; powers are added from the lowest on.
void add_at(std::vector<at::Tensor>& powers, size_t power, const at::Tensor& coefficient) {
  if (powers.size() == power) {
    powers.push_back(coefficient);
  } else {
    powers.at(power) = powers.at(power) + coefficient;
  }
}

class FrankWolfe {
 public:
  FrankWolfe(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups) {
    for (const auto& [name, axes] : axes_by_tensor(groups)) {
      const at::Tensor& tensor = models.front().at(name);
      if (is_running_statistic(name, tensor)) {
        continue;
      }
      axes_[name] = axes;
      most_axes_ = std::max(most_axes_, axes.size());
      for (const Weights& model : models) {
        tensors_[name].push_back(model.at(name).to(at::kDouble));
      }
    }
    for (size_t i = 0; i < models.size(); ++i) {
      auto& plans = plans_.emplace_back();
      for (const AxisGroup& group : groups) {
        plans[group.name] = matrix_of(unmoved(group.size), models.front().begin()->second.device());
      }
    }
  }

  int64_t run(int64_t iterations, const std::function<void()>& tick) {
    for (int64_t i = 0; i < iterations; ++i) {
      const Plans corners = best_corners();
      const std::vector<double> sum = sum_along(corners);
      const double length = best_length(sum);
      tick();
      if (value_at(sum, length) <= sum[0] + kGain * std::abs(sum[0])) {
        return i + 1;
      }
      plans_ = between(corners, length);
    }
    return iterations;
  }

  std::vector<Alignment> onto_first() const {
    std::vector<Alignment> alignments;
    for (const auto& plans : plans_) {
      Alignment& alignment = alignments.emplace_back();
      for (const auto& [group, plan] : plans) {
        alignment[group] = best_assignment(plan);
      }
    }
    const Alignment from_common = inverse_of(alignments.front());
    for (Alignment& alignment : alignments) {
      for (auto& [group, permutation] : alignment) {
        permutation = composed(permutation, from_common.at(group));
      }
    }
    return alignments;
  }

 private:
  // The coefficients, by power of the length of a step, of a tensor that is mapped on the way to the corners.
  static std::vector<at::Tensor> mapped_along(const at::Tensor& tensor, const std::vector<AxisOfGroup>& axes,
                                              const std::map<std::string, at::Tensor>& from,
                                              const std::map<std::string, at::Tensor>& to) {
    std::vector<at::Tensor> powers{tensor};
    for (const AxisOfGroup& along : axes) {
      const at::Tensor& plan = from.at(along.group);
      const at::Tensor step = to.at(along.group) - plan;
      std::vector<at::Tensor> next;
      for (size_t k = 0; k < powers.size(); ++k) {
        const at::Tensor stays = mapped(powers[k], {along}, {{along.group, {plan, plan.t()}}});
        add_at(next, k, stays);
        add_at(next, k + 1, mapped(powers[k], {along}, {{along.group, {step, step.t()}}}));
      }
      powers = std::move(next);
    }
    return powers;
  }

  // The sum over pairs of models and over tensors on the way to the corners: a polynomial, by powers.
  std::vector<double> sum_along(const Plans& corners) const {
    std::vector<double> sum(2 * most_axes_ + 1, 0.0);
    const auto add_products = [&](const std::vector<at::Tensor>& powers, double share) {
      for (size_t k = 0; k < powers.size(); ++k) {
        for (size_t l = 0; l < powers.size(); ++l) {
          sum[k + l] += share * (powers[k] * powers[l]).sum().item<double>();
        }
      }
    };
    for (const auto& [name, of_models] :
         tensors_) {  // the pairs: half of the square of the sum less the squares
      std::vector<at::Tensor> total;
      for (size_t i = 0; i < of_models.size(); ++i) {
        const auto powers = mapped_along(of_models[i], axes_.at(name), plans_[i], corners[i]);
        add_products(powers, -0.5);
        for (size_t k = 0; k < powers.size(); ++k) {
          add_at(total, k, powers[k]);
        }
      }
      add_products(total, 0.5);
    }
    return sum;
  }

  // The gradient by each plan, and where its linear form is largest.
  Plans best_corners() const {
    Plans gradients;
    for (const auto& plans : plans_) {
      auto& zeros = gradients.emplace_back();
      for (const auto& [group, plan] : plans) {
        zeros[group] = at::zeros_like(plan);
      }
    }
    for (const auto& [name, of_models] : tensors_) {
      add_gradients(name, of_models, gradients);
    }
    for (auto& plans : gradients) {
      for (auto& [group, gradient] : plans) {
        gradient = matrix_of(best_assignment(gradient), gradient.device());
      }
    }
    return gradients;
  }

  void add_gradients(const std::string& name, const std::vector<at::Tensor>& of_models,
                     Plans& gradients) const {
    const std::vector<AxisOfGroup>& axes = axes_.at(name);
    std::vector<at::Tensor> common;
    at::Tensor total;
    for (size_t i = 0; i < of_models.size(); ++i) {
      common.push_back(mapped(of_models[i], axes, as_maps(plans_[i])));
      total = total.defined() ? total + common.back() : common.back();
    }
    for (size_t i = 0; i < of_models.size(); ++i) {
      const at::Tensor others = total - common[i];
      for (const AxisOfGroup& along : axes) {
        std::vector<AxisOfGroup> rest;
        std::copy_if(axes.begin(), axes.end(), std::back_inserter(rest),
                     [&](const AxisOfGroup& axis) { return axis.axis != along.axis; });
        const at::Tensor own = mapped(of_models[i], rest, as_maps(plans_[i]));
        gradients[i].at(along.group) += at::matmul(rows_along(others, along), rows_along(own, along).t());
      }
    }
  }

  Plans between(const Plans& corners, double length) const {
    Plans plans = plans_;
    for (size_t i = 0; i < plans.size(); ++i) {
      for (auto& [group, plan] : plans[i]) {
        plan = plan * (1 - length) + corners[i].at(group) * length;
      }
    }
    return plans;
  }

  static double value_at(const std::vector<double>& polynomial, double x) {
    double value = 0;
    for (auto coefficient = polynomial.rbegin(); coefficient != polynomial.rend(); ++coefficient) {
      value = value * x + *coefficient;
    }
    return value;
  }

  static double best_length(const std::vector<double>& sum) {
    double best = 0;
    for (int i = 1; i <= kGrid; ++i) {
      const double x = static_cast<double>(i) / kGrid;
      best = value_at(sum, x) > value_at(sum, best) ? x : best;
    }
    return best;
  }

  AxesByTensor axes_;
  size_t most_axes_ = 1;
  std::map<std::string, std::vector<at::Tensor>> tensors_;  // float64, of each model
  Plans plans_;
};

}  // namespace

CycleConsistent match_in_cycles(const std::vector<Weights>& models, const std::vector<AxisGroup>& groups,
                                int64_t iterations, const std::function<void()>& tick) {
  FrankWolfe search(models, groups);
  CycleConsistent found;
  found.iterations = search.run(iterations, tick);
  found.onto_first = search.onto_first();
  return found;
}

}  // namespace fusegrid
