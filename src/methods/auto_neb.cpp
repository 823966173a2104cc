// AutoNEB: a chain of points between two models that is pushed off high losses sideways, as an elastic band is, and
// gets more points where it needs them.
//
//   p_i <- p_i - lr (g - <g, u> u),   g: the gradient at p_i, u: the chain's direction there
//
// Source:  Draxler et al., "Essentially No Barriers in Neural Network Energy Landscape", ICML 2018, arXiv:1803.00885.
// Differs: gradient descent has Nesterov's momentum and a learning rate that falls in each cycle; after each step
//          points are put back at equal distances along the chain, the limit of stiff springs. Losses that decide where
//          points are added are those of one batch, four times as large, the same for all.
// Cost:    cycles x steps x points forward and backward passes of batch examples per task, once for all t.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>

#include "core/descent.h"
#include "fusion/whole_model/curve.h"
#include "fusion/whole_model/path_loss.h"

namespace fusegrid::methods::auto_neb {
namespace {

struct Relaxation {
  int64_t points = 3;
  int64_t cycles = 3;
  int64_t steps = 150;
  int64_t batch = 64;
  double lr = 0.03;
  double weight_decay = 5e-3;
  double insert = 0.2;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("points", points, Range{1, 100}, "between the experts, at first");
    v.param("cycles", cycles, Range{1, 100}, "of descent; between them points are added");
    v.param("steps", steps, Range{0, 1e7}, "of a cycle");
    v.param("batch", batch, Range{1, 65536}, "labelled training examples of each task in a step");
    v.param("lr", lr, Range{0, 100}, "highest learning rate of a cycle");
    v.param("weight_decay", weight_decay, Range{0, 1}, "of the matrices of the chain's points");
    v.param(
        "insert", insert, Range{0, 1e6},
        "a point is added where the loss between two is so much above their chord, in units of the chain's "
        "range of losses");
  }
};

using Options = PathOptions<Relaxation>;

constexpr double kMomentum = 0.9;
constexpr int64_t kProbes = 3;  // between two points, where points may be added

PointTensors difference(const PointTensors& to, const PointTensors& from) {
  return combined({to, from}, {1, -1});
}

double length(const PointTensors& vector) {
  return std::sqrt(inner_product(vector, vector));
}

// The part of the gradient that is across the chain, whose direction at a point is that to its neighbour with the
// higher loss.
PointTensors across(const PointTensors& gradient, const PointTensors& direction) {
  const double square = inner_product(direction, direction);
  const double along = square > 0 ? inner_product(gradient, direction) / square : 0;
  return combined({gradient, direction}, {1, -along});
}

class Chain {
 public:
  Chain(const FusionInput& in, const PathPoints& path, const Relaxation& options)
      : in_(in),
        options_(options),
        loss_(in, path, "auto_neb", options.batch, options.weight_decay),
        probe_(in, path, "auto_neb/probe", 4 * options.batch, 0),
        points_(chord(path, options.points)) {}

  std::vector<PointTensors> relaxed() {
    for (int64_t cycle = 0; cycle < options_.cycles; ++cycle) {
      if (cycle > 0) {
        add_points();
      }
      descend(cycle * options_.steps);
    }
    return points_;
  }

 private:
  void descend(int64_t first_step) {
    std::vector<PointTensors> velocities;  // of the inner points; the chain's points are replaced, not these
    for (size_t i = 1; i + 1 < points_.size(); ++i) {
      velocities.push_back(combined({points_[i]}, {0}));
    }
    for (int64_t step = 0; step < options_.steps; ++step) {
      const double rate =
          learning_rate_at(step, options_.steps, options_.lr, std::max<int64_t>(options_.steps / 10, 1));
      std::vector<PathLoss::Slope> slopes;
      for (const PointTensors& point : points_) {
        slopes.push_back(loss_.slope(point, first_step + step));
        in_.tick();
      }
      std::vector<PointTensors> moved{points_.front()};
      for (size_t i = 1; i + 1 < points_.size(); ++i) {
        const bool ahead = slopes[i + 1].loss.item<double>() > slopes[i - 1].loss.item<double>();
        const PointTensors direction =
            ahead ? difference(points_[i + 1], points_[i]) : difference(points_[i], points_[i - 1]);
        const PointTensors force = across(slopes[i].gradient, direction);
        PointTensors& velocity = velocities[i - 1];
        velocity = combined({velocity, force}, {kMomentum, 1});
        moved.push_back(combined({points_[i], force, velocity}, {1, -rate, -rate * kMomentum}));
      }
      moved.push_back(points_.back());
      points_ = std::move(moved);
      spread();
    }
  }

  // Puts the inner points at equal distances along the chain.
  void spread() {
    std::vector<double> places{0};
    for (size_t i = 1; i < points_.size(); ++i) {
      places.push_back(places.back() + length(difference(points_[i], points_[i - 1])));
    }
    std::vector<PointTensors> spread{points_.front()};
    size_t segment = 1;
    for (size_t i = 1; i + 1 < points_.size(); ++i) {
      const double wanted = places.back() * static_cast<double>(i) / static_cast<double>(points_.size() - 1);
      while (places[segment] < wanted) {
        ++segment;
      }
      const double size = places[segment] - places[segment - 1];
      const double t = size > 0 ? (wanted - places[segment - 1]) / size : 0;
      spread.push_back(combined({points_[segment - 1], points_[segment]}, {1 - t, t}));
    }
    spread.push_back(points_.back());
    points_ = std::move(spread);
  }

  void add_points() {
    std::vector<double> losses;
    for (const PointTensors& point : points_) {
      losses.push_back(probe_.loss(point, 0));
    }
    const auto [lowest, highest] = std::minmax_element(losses.begin(), losses.end());
    const double limit = options_.insert * (*highest - *lowest);
    std::vector<PointTensors> more{points_.front()};
    for (size_t i = 1; i < points_.size(); ++i) {
      double most = limit, place = 0;
      for (int64_t probe = 1; probe <= kProbes; ++probe) {
        const double t = static_cast<double>(probe) / static_cast<double>(kProbes + 1);
        const double above = probe_.loss(combined({points_[i - 1], points_[i]}, {1 - t, t}), 0) -
                             (1 - t) * losses[i - 1] - t * losses[i];
        if (above > most) {
          most = above;
          place = t;
        }
        in_.tick();
      }
      if (place > 0) {
        more.push_back(combined({points_[i - 1], points_[i]}, {1 - place, place}));
      }
      more.push_back(points_[i]);
    }
    points_ = std::move(more);
  }

  const FusionInput& in_;
  const Relaxation& options_;
  PathLoss loss_, probe_;
  std::vector<PointTensors> points_;  // with the ends
};

// Of a chain whose points stand at equal distances.
PointTensors at_position(const std::vector<PointTensors>& points, double t) {
  const double place = t * static_cast<double>(points.size() - 1);
  const auto segment = std::min(static_cast<size_t>(place), points.size() - 2);
  const double within = place - static_cast<double>(segment);
  return combined({points[segment], points[segment + 1]}, {1 - within, within});
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const PathPoints path(in);
  const auto chain = in.trained(trained_key("auto_neb", options.training),
                                [&] { return path.packed(Chain(in, path, options.training).relaxed()); });
  const std::vector<PointTensors> points = path.unpacked(*chain);
  FusedModel fused = one_model(path.model_of(at_position(points, options.t)));
  fused.facts["points"] = std::to_string(points.size() - 2);
  return fused;
}

MethodCard card() {
  MethodCard card = path_card(
      "auto_neb", "AutoNEB", "Draxler et al., ICML 2018, arXiv:1803.00885",
      R"(p_0 = theta_1, p_(n+1) = theta_2,   p_1 .. p_n: from the line on, at equal distances after each step
p_i <- p_i - lr (g_i - <g_i, u_i> u_i),   g_i: gradient of the loss at p_i, u_i: unit vector along the chain
theta(t): the point at t of the chain's length)");
  card.training_models = 12;
  return card;
}

const RegisterMethod<Options> registered{card(), fuse};

}  // namespace
}  // namespace fusegrid::methods::auto_neb
