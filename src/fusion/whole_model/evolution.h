// Search without gradients over a box.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// The (mu / mu_w, lambda) evolution strategy with covariance matrix adaptation, minimising over the unit box: ask()
// draws lambda points, tell() has their ranks move the mean, the step size and the covariance.
//   Source   Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772, figure 6, with its default parameters;
//            the negative weights of its appendix are left out.
//   Differs  points are clamped to the box, and told as such. Random numbers are Philox's, keyed by the generation: the
//            same bits everywhere.
class CmaEs {
 public:
  // It begins at `mean`, [dimensions] in the box, with that deviation in every direction. dimensions: 1 or more.
  CmaEs(std::vector<double> mean, double deviation, uint64_t key);

  int64_t population() const { return population_; }  // lambda
  double step_size() const { return sigma_; }
  std::vector<std::vector<double>> ask();
  // order: indices of the points that were asked for last, the best one first.
  void tell(const std::vector<int64_t>& order);

 private:
  int64_t dimensions_ = 0, population_ = 0, parents_ = 0;
  uint64_t key_ = 0, generation_ = 0;
  std::vector<double> weights_;  // [parents], of sum 1
  double mu_effective_ = 0, c_sigma_ = 0, d_sigma_ = 0, c_c_ = 0, c_1_ = 0, c_mu_ = 0, expected_norm_ = 0;
  double sigma_ = 0;
  at::Tensor mean_, covariance_, path_sigma_, path_c_;  // float64 on the CPU
  at::Tensor points_;  // [population, dimensions], as they were asked for last
};

}  // namespace fusegrid
