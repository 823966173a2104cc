#include "fusion/whole_model/curve.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/descent.h"
#include "core/philox.h"

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

// Moves all points but the ends, in place.
void train_bends(const FusionInput& in, const PathLoss& loss, CurveShape shape, const CurveTraining& training,
                 std::vector<PointTensors>& points) {
  std::vector<Sgd> descents;
  for (size_t k = 1; k + 1 < points.size(); ++k) {
    descents.emplace_back(points[k], 0, kMomentum);
  }
  const uint64_t key = derive_key(in.seed(), "curve/t");
  for (int64_t step = 0; step < training.steps; ++step) {
    const double t = uniform(key, 0, step, 1).item<double>();
    const auto coefficients = curve_coefficients(shape, training.bends, t);
    const PointTensors gradient = loss.slope(combined(points, coefficients), step).gradient;
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

MethodCard path_card(const std::string& name, const std::string& title, const std::string& paper,
                     const std::string& formula) {
  return {.name = name,
          .title = title,
          .paper = paper,
          .formula = formula,
          .family = Family::kAlignment,
          .grain = Grain::kWholeModel,
          .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
          .random = true,
          .order_invariant = false,
          .cost = Cost::kTraining,
          .min_experts = 2,
          .max_experts = 2};
}

Weights point_of_curve(const FusionInput& in, CurveShape shape, const CurveTraining& training, double t) {
  const PathPoints points(in);
  const auto trained =
      in.trained(trained_key(shape == CurveShape::kBezier ? "bezier" : "polygonal_chain", training), [&] {
        const PathLoss loss(in, points, "curve", training.batch, training.weight_decay);
        std::vector<PointTensors> all = chord(points, training.bends);
        train_bends(in, loss, shape, training, all);
        return points.packed(all);
      });
  return points.model_of(combined(points.unpacked(*trained), curve_coefficients(shape, training.bends, t)));
}

}  // namespace fusegrid
