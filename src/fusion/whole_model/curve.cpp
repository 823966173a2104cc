#include "fusion/whole_model/curve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/descent.h"
#include "core/philox.h"
#include "core/text.h"
#include "fusion/whole_model/path_loss.h"

namespace fusegrid {
namespace {

constexpr double kMomentum = 0.9;

double binomial(int64_t n, int64_t k) {
  double value = 1;
  for (int64_t i = 1; i <= k; ++i) {
    value = value * static_cast<double>(n - k + i) / static_cast<double>(i);
  }
  return value;
}

// The ends, and between them points on the chord.
std::vector<PointTensors> chord(const FusionInput& in, const PathLoss& path, int64_t bends) {
  const std::vector<PointTensors> ends{path.tensors_of(in.expert(0)), path.tensors_of(in.expert(1))};
  std::vector<PointTensors> points{ends[0]};
  for (int64_t k = 1; k <= bends; ++k) {
    const double t = static_cast<double>(k) / static_cast<double>(bends + 1);
    points.push_back(combined(ends, {1 - t, t}));
  }
  points.push_back(ends[1]);
  return points;
}

// Moves all points but the ends, in place.
void train_bends(const FusionInput& in, const PathLoss& path, const CurveTraining& training,
                 std::vector<PointTensors>& points) {
  std::vector<Sgd> descents;
  for (size_t k = 1; k + 1 < points.size(); ++k) {
    descents.emplace_back(points[k], 0, kMomentum);
  }
  const uint64_t key = derive_key(in.seed(), "curve/t");
  for (int64_t step = 0; step < training.steps; ++step) {
    const double t = uniform(key, 0, step, 1).item<double>();
    const auto coefficients = curve_coefficients(training.shape, training.bends, t);
    const PointTensors gradient = path.slope(combined(points, coefficients), step).gradient;
    const double rate =
        learning_rate_at(step, training.steps, training.lr, std::max<int64_t>(training.steps / 10, 1));
    for (size_t k = 0; k < descents.size(); ++k) {
      PointTensors of_bend;
      for (const at::Tensor& tensor : gradient) {
        of_bend.push_back(tensor * coefficients[k + 1]);
      }
      descents[k].step(of_bend, rate);
    }
    in.tick();
  }
}

}  // namespace

std::vector<double> curve_coefficients(CurveShape shape, int64_t bends, double t) {
  const int64_t n = bends + 1;
  std::vector<double> coefficients;
  for (int64_t k = 0; k <= n; ++k) {
    const auto rise = static_cast<double>(k), fall = static_cast<double>(n - k);
    coefficients.push_back(shape == CurveShape::kBezier
                               ? binomial(n, k) * std::pow(t, rise) * std::pow(1 - t, fall)
                               : std::max(0.0, 1 - std::abs(static_cast<double>(n) * t - rise)));
  }
  return coefficients;
}

Weights point_of_curve(const FusionInput& in, const CurveTraining& training, double t) {
  const std::string key = std::string(training.shape == CurveShape::kBezier ? "bezier" : "polygonal_chain") +
                          "{bends=" + number_text(training.bends) + ",steps=" + number_text(training.steps) +
                          ",batch=" + number_text(training.batch) + ",lr=" + number_text(training.lr) +
                          ",weight_decay=" + number_text(training.weight_decay) + "}";
  const PathLoss path(in, "curve", training.batch, training.weight_decay);
  const auto trained = in.trained(key, [&] {
    std::vector<PointTensors> points = chord(in, path, training.bends);
    train_bends(in, path, training, points);
    return path.packed(points);
  });
  return path.model_of(
      combined(path.unpacked(*trained), curve_coefficients(training.shape, training.bends, t)));
}

}  // namespace fusegrid
