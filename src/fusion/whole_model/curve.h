#pragma once

#include <cstdint>
#include <vector>

#include "fusion/fusion_input.h"

namespace fusegrid {

// A curve between two models, theta(t) = sum_k c_k(t) w_k for t from 0 to 1: w_0 and w_(n) are the models, and the
// bends between them are trained so that the loss is low all along it.
//
// Source:  Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018,
//          arXiv:1802.10026.
enum class CurveShape { kBezier, kPolygonalChain };

// c_0 .. c_(bends + 1) at t: Bernstein's polynomials, or the hat functions max(0, 1 - |n t - k|), n = bends + 1. They
// sum to 1.
std::vector<double> curve_coefficients(CurveShape shape, int64_t bends, double t);

struct CurveTraining {
  CurveShape shape = CurveShape::kBezier;
  int64_t bends = 1;
  int64_t steps = 900;
  int64_t batch = 64;
  double lr = 0.03;
  double weight_decay = 5e-3;
};

// The point at t of the curve between the first and the second expert. Bends start on the chord. In each step t is
// uniform, the loss that of a batch of labelled training examples of each task, and matrices of the point, not of the
// bends, decay; batch norms use the statistics of the batch. Bends are trained once for all t. Need::kTrainInputs,
// kTrainLabels and kGradients. Running statistics are the models' mean.
Weights point_of_curve(const FusionInput& in, const CurveTraining& training, double t);

}  // namespace fusegrid
