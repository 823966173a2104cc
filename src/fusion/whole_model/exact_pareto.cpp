#include "fusion/whole_model/exact_pareto.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/errors.h"
#include "core/linear_program.h"

namespace fusegrid {
namespace {

constexpr double kBalanced = 1e-4;  // the authors' bound of the non-uniformity

using Vector = std::vector<double>;

struct Balance {
  Vector weighted;            // preference_i * loss_i
  double non_uniformity = 0;  // divergence of their shares from equal ones
  Vector adjustments;         // the gradient of the non-uniformity by the losses, up to a factor
};

Balance balance_of(const Vector& losses, const Vector& preference) {
  const auto tasks = static_cast<double>(losses.size());
  Balance balance;
  double sum = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
    balance.weighted.push_back(preference[i] * losses[i]);
    sum += balance.weighted.back();
  }
  FUSEGRID_ASSERT(sum > 0 && std::isfinite(sum), "losses and preferences without a sum");
  Vector logarithms;
  for (const double weighted : balance.weighted) {
    const double share = weighted / sum;
    const bool counts = share > std::numeric_limits<double>::epsilon();
    logarithms.push_back(counts ? std::log(share * tasks) : 0);
    balance.non_uniformity += counts ? share * logarithms.back() : 0;
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    balance.adjustments.push_back(preference[i] * (logarithms[i] - balance.non_uniformity));
  }
  return balance;
}

Vector balancing(const std::vector<Vector>& gram, const Vector& toward, const Vector& weighted) {
  const double most = *std::max_element(weighted.begin(), weighted.end());
  const bool some_agree = std::any_of(toward.begin(), toward.end(), [](double each) { return each > 0; });
  std::vector<Vector> rows;
  Vector bounds;
  for (size_t i = 0; i < toward.size(); ++i) {
    const bool is_largest = weighted[i] == most;
    if (!some_agree || is_largest || toward[i] <= 0) {  // others may rise as they like
      rows.push_back(gram[i]);
      bounds.push_back(!some_agree || is_largest ? 0 : toward[i]);
    }
  }
  const auto solved = maximise_on_simplex(toward, rows, bounds);
  FUSEGRID_ASSERT(solved.has_value(), "the shortest of all weighted gradients balances");
  return *solved;
}

Vector descending(const std::vector<Vector>& gram, const Vector& toward) {
  Vector objective(toward.size(), 0);
  for (const Vector& row : gram) {
    for (size_t j = 0; j < row.size(); ++j) {
      objective[j] += row[j];
    }
  }
  std::vector<Vector> rows = gram;
  Vector bounds(gram.size(), 0);
  rows.push_back(toward);
  bounds.push_back(std::min(*std::max_element(toward.begin(), toward.end()), 0.0));
  if (const auto restricted = maximise_on_simplex(objective, rows, bounds)) {
    return *restricted;
  }
  rows.pop_back();
  bounds.pop_back();
  const auto relaxed = maximise_on_simplex(objective, rows, bounds);
  FUSEGRID_ASSERT(relaxed.has_value(), "the shortest of all weighted gradients descends");
  return *relaxed;
}

}  // namespace

Vector exact_pareto_weights(const Vector& losses, const at::Tensor& gram, const Vector& preference) {
  const size_t tasks = losses.size();
  FUSEGRID_ASSERT(gram.scalar_type() == at::kDouble && gram.is_contiguous() &&
                      gram.numel() == static_cast<int64_t>(tasks * tasks) && preference.size() == tasks,
                  "losses, gradients and preferences of different numbers of tasks");
  const double scale = gram.abs().max().item<double>();
  const auto* entries = gram.const_data_ptr<double>();
  std::vector<Vector> products;
  for (size_t i = 0; i < tasks; ++i) {
    products.emplace_back(entries + i * tasks, entries + (i + 1) * tasks);
    for (double& product : products.back()) {
      product /= scale > 0 ? scale : 1;
    }
  }
  const Balance balance = balance_of(losses, preference);
  Vector toward;  // inner products of the gradients with that of the non-uniformity
  for (const Vector& row : products) {
    toward.push_back(std::inner_product(row.begin(), row.end(), balance.adjustments.begin(), 0.0));
  }
  return balance.non_uniformity > kBalanced ? balancing(products, toward, balance.weighted)
                                            : descending(products, toward);
}

}  // namespace fusegrid
