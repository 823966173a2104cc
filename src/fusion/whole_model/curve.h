#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/path_loss.h"

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

struct CurveTraining : PointTraining {
  int64_t bends = 1;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("bends", bends, Range{1, 20}, "trained points between the experts");
    PointTraining::describe(v);
  }
};

// The parameters of a method that makes a point of a trained path.
template <typename Training>
struct PathOptions {
  double t = 0.5;
  Training training;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("t", t, Range{0, 1}, "position on the path: 0 is the first expert, 1 the second");
    training.describe(v);
  }
};
// Its card.
MethodCard path_card(const std::string& name, const std::string& title, const std::string& paper,
                     const std::string& formula);

// The point at t of the curve between the first and the second expert. Bends start on the chord. In each step t is
// uniform, the loss that of a batch of labelled training examples of each task, and matrices of the point, not of the
// bends, decay; batch norms use the statistics of the batch. Bends are trained once for all t. Need::kTrainInputs,
// kTrainLabels and kGradients. Running statistics are the models' mean.
Weights point_of_curve(const FusionInput& in, CurveShape shape, const CurveTraining& training, double t);

}  // namespace fusegrid
