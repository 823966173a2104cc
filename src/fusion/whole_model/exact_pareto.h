#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace fusegrid {

// What the gradients of losses are weighed with, sum 1 and none below zero, so that a step along their sum goes to the
// Pareto optimum at which preference_i * loss_i are all equal: balance as long as they are not, descent where they are.
//
// Source:  Mahapatra & Rajan, "Multi-Task Learning with User Preferences: Gradient Descent with Controlled Ascent in
//          Pareto Optimization", ICML 2020, and its program for stochastic gradients.
// Differs: where the restricted descent has no solution the relaxed one is taken, which always has; the authors' code
//          leaves that to its caller, and FusionBench takes the preference.
//   losses      of each task, above zero
//   gram        float64 [tasks, tasks]: inner products of the losses' gradients
//   preference  of each task, 0 or more, some above zero
std::vector<double> exact_pareto_weights(const std::vector<double>& losses, const at::Tensor& gram,
                                         const std::vector<double>& preference);

}  // namespace fusegrid
