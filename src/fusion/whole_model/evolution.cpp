#include "fusion/whole_model/evolution.h"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "core/errors.h"
#include "core/philox.h"

namespace fusegrid {

CmaEs::CmaEs(std::vector<double> mean, double deviation, uint64_t key)
    : dimensions_(static_cast<int64_t>(mean.size())), key_(key), sigma_(deviation) {
  FUSEGRID_ASSERT(dimensions_ > 0, "a search needs something to search over");
  const auto n = static_cast<double>(dimensions_);
  population_ = 4 + static_cast<int64_t>(std::floor(3 * std::log(n)));
  parents_ = population_ / 2;
  double sum = 0;
  for (int64_t i = 1; i <= parents_; ++i) {
    weights_.push_back(std::log((static_cast<double>(population_) + 1) / 2) -
                       std::log(static_cast<double>(i)));
    sum += weights_.back();
  }
  double squares = 0;
  for (double& weight : weights_) {
    weight /= sum;
    squares += weight * weight;
  }
  mu_effective_ = 1 / squares;
  c_sigma_ = (mu_effective_ + 2) / (n + mu_effective_ + 5);
  d_sigma_ = 1 + 2 * std::max(0.0, std::sqrt((mu_effective_ - 1) / (n + 1)) - 1) + c_sigma_;
  c_c_ = (4 + mu_effective_ / n) / (n + 4 + 2 * mu_effective_ / n);
  c_1_ = 2 / ((n + 1.3) * (n + 1.3) + mu_effective_);
  c_mu_ =
      std::min(1 - c_1_, 2 * (mu_effective_ - 2 + 1 / mu_effective_) / ((n + 2) * (n + 2) + mu_effective_));
  expected_norm_ = std::sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
  mean_ = at::tensor(mean, at::kDouble);
  covariance_ = at::eye(dimensions_, at::kDouble);
  path_sigma_ = at::zeros({dimensions_}, at::kDouble);
  path_c_ = at::zeros({dimensions_}, at::kDouble);
}

std::vector<std::vector<double>> CmaEs::ask() {
  const auto [values, vectors] = at::linalg_eigh(covariance_);
  const at::Tensor root = vectors * values.clamp_min(0).sqrt();  // covariance = root root^T
  points_ = at::zeros({population_, dimensions_}, at::kDouble);
  std::vector<std::vector<double>> points;
  for (int64_t i = 0; i < population_; ++i) {
    const at::Tensor drawn = normal(key_, generation_, i * dimensions_, dimensions_).to(at::kDouble);
    const at::Tensor point = (mean_ + sigma_ * at::mv(root, drawn)).clamp(0, 1);
    points_[i].copy_(point);
    const auto* begin = point.const_data_ptr<double>();
    points.emplace_back(begin, begin + dimensions_);
  }
  ++generation_;
  return points;
}

void CmaEs::tell(const std::vector<int64_t>& order) {
  FUSEGRID_ASSERT(static_cast<int64_t>(order.size()) == population_, "all points are told");
  const at::Tensor before = mean_;
  at::Tensor step = at::zeros({dimensions_}, at::kDouble);  // of the mean, in units of sigma
  at::Tensor spread = at::zeros({dimensions_, dimensions_}, at::kDouble);
  for (int64_t i = 0; i < parents_; ++i) {
    const at::Tensor y = (points_[order[static_cast<size_t>(i)]] - before) / sigma_;
    step += weights_[static_cast<size_t>(i)] * y;
    spread += weights_[static_cast<size_t>(i)] * at::outer(y, y);
  }
  mean_ = before + sigma_ * step;
  const auto [values, vectors] = at::linalg_eigh(covariance_);
  const at::Tensor whitened = at::mv(vectors, at::mv(vectors.t(), step) / values.clamp_min(1e-20).sqrt());
  path_sigma_ =
      (1 - c_sigma_) * path_sigma_ + std::sqrt(c_sigma_ * (2 - c_sigma_) * mu_effective_) * whitened;
  const double norm = std::sqrt(at::dot(path_sigma_, path_sigma_).item<double>());
  const double unbiased = norm / std::sqrt(1 - std::pow(1 - c_sigma_, 2 * static_cast<double>(generation_)));
  const bool steady = unbiased < (1.4 + 2 / (static_cast<double>(dimensions_) + 1)) * expected_norm_;
  const double h = steady ? 1 : 0;
  path_c_ = (1 - c_c_) * path_c_ + h * std::sqrt(c_c_ * (2 - c_c_) * mu_effective_) * step;
  const double lost = (1 - h) * c_c_ * (2 - c_c_);
  covariance_ =
      (1 + c_1_ * lost - c_1_ - c_mu_) * covariance_ + c_1_ * at::outer(path_c_, path_c_) + c_mu_ * spread;
  sigma_ *= std::exp(c_sigma_ / d_sigma_ * (norm / expected_norm_ - 1));
}

}  // namespace fusegrid
