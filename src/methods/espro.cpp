// ESPRO: an ensemble of models from a volume of low loss between the experts, whose simplexes each join one of them to
// points that are trained for it and that all simplexes share.
//
//   K = { S_i = simplex(theta_i, w_1, ..., w_k) },   w_k minimises E[loss(theta)] - volume log V(K),   theta ~ K
//   V(K) = sum_i V(S_i),   d log V / d w_k = sum_i V(S_i) / V(K) h_i / |h_i|^2
//
// h_i is w_k's height in S_i: its way from the other corners' plane.
//
// Source:  Benton et al., "Loss Surface Simplexes for Mode Connecting Volumes and Fast Ensembling", ICML 2021,
//          arXiv:2102.13042, sections 4 and 5.
// Differs: the factor of the volume is given as it is, not divided by the logarithm of a random complex's volume. A
//          simplex is drawn with the same chance as every other, and the members of the ensemble are of the simplexes
//          in turn. The learning rate warms up and falls as a cosine; weight decay is the gradient's at the drawn
//          model, on matrices and kernels alone. Batches and draws are a function of seed and step alone.
// Cost:    points x steps forward and backward passes of batch examples per task; every inference runs `members`
//          models.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/ops/stack.h>

#include "core/descent.h"
#include "core/philox.h"
#include "fusion/whole_model/path_loss.h"

namespace fusegrid::methods::espro {
namespace {

constexpr double kMomentum = 0.9;

struct Training : PointTraining {
  int64_t points = 1;
  double volume = 1e-3;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("points", points, Range{1, 20}, "trained corners that all simplexes share, one after the other");
    PointTraining::describe(v);
    v.param("volume", volume, Range{0, 1e6}, "factor of the logarithm of the volume");
  }
};

struct Options {
  Training training;
  int64_t members = 5;

  template <typename Visitor>
  void describe(Visitor& v) {
    training.describe(v);
    v.param("members", members, Range{1, 1000}, "models of the ensemble");
  }
};

// Coordinates of a point of a simplex with so many corners, uniform in it.
std::vector<double> drawn_in_simplex(uint64_t key, int64_t draw, int64_t corners) {
  const at::Tensor numbers = uniform(key, static_cast<uint64_t>(draw), 0, corners);
  std::vector<double> coordinates;
  double sum = 0;
  for (int64_t i = 0; i < corners; ++i) {
    coordinates.push_back(-std::log1p(-static_cast<double>(numbers.const_data_ptr<float>()[i])));
    sum += coordinates.back();
  }
  for (double& coordinate : coordinates) {
    coordinate /= sum;
  }
  return coordinates;
}

class Complex {
 public:
  Complex(const FusionInput& in, const PathPoints& path, std::vector<PointTensors> points = {})
      : in_(in), points_(std::move(points)) {
    for (size_t i = 0; i < in.num_experts(); ++i) {
      experts_.push_back(path.tensors_of(in.expert(i)));
    }
  }

  const std::vector<PointTensors>& points() const { return points_; }
  size_t simplexes() const { return experts_.size(); }

  // A model of the simplex of an expert.
  PointTensors at(size_t expert, const std::vector<double>& coordinates) const {
    std::vector<PointTensors> corners{experts_[expert]};
    corners.insert(corners.end(), points_.begin(), points_.end());
    return combined(corners, coordinates);
  }

  // Adds a point, at the mean of all corners at first.
  void train_another(const PathLoss& loss, const Training& training) {
    std::vector<PointTensors> corners = experts_;
    corners.insert(corners.end(), points_.begin(), points_.end());
    const std::vector<double> shares(corners.size(), 1 / static_cast<double>(corners.size()));
    points_.push_back(combined(corners, shares));

    Sgd descent(points_.back(), 0, kMomentum);
    const auto first_step = static_cast<int64_t>(points_.size() - 1) * training.steps;
    for (int64_t step = 0; step < training.steps; ++step) {
      const auto [expert, coordinates] = drawn(first_step + step);
      const PointTensors slope = loss.slope(at(expert, coordinates), first_step + step).gradient;
      const double rate =
          learning_rate_at(step, training.steps, training.lr, std::max<int64_t>(training.steps / 10, 1));
      descent.step(combined({slope, slope_of_log_volume()}, {coordinates.back(), -training.volume}), rate);
      in_.tick();
    }
  }

 private:
  // The simplex and the place in it that a step of training looks at.
  std::pair<size_t, std::vector<double>> drawn(int64_t step) const {
    const double chosen =
        uniform(derive_key(in_.seed(), "espro/training/simplex"), 0, step, 1).item<double>();
    return {static_cast<size_t>(chosen * static_cast<double>(experts_.size())),
            drawn_in_simplex(derive_key(in_.seed(), "espro/training"), step,
                             static_cast<int64_t>(points_.size()) + 1)};
  }

  struct Height {
    PointTensors way;  // of the last point from the plane of the other corners
    double square = 0;
    double log_volume = 0;  // but for the same constant of all simplexes
  };
  // The edges from the expert, each made orthogonal to those before it.
  Height height(size_t expert) const {
    std::vector<PointTensors> orthogonal;
    std::vector<double> squares;
    Height height;
    for (const PointTensors& point : points_) {
      PointTensors edge = combined({point, experts_[expert]}, {1, -1});
      for (size_t k = 0; k < orthogonal.size(); ++k) {
        const double along = squares[k] > 0 ? inner_product(edge, orthogonal[k]) / squares[k] : 0;
        edge = combined({edge, orthogonal[k]}, {1, -along});
      }
      squares.push_back(inner_product(edge, edge));
      height.log_volume += 0.5 * std::log(squares.back());
      orthogonal.push_back(std::move(edge));
    }
    height.way = orthogonal.back();
    height.square = squares.back();
    return height;
  }

  // With respect to the last point. A simplex without volume has no direction in which it grows.
  PointTensors slope_of_log_volume() const {
    std::vector<Height> heights;
    double largest = -std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < experts_.size(); ++i) {
      heights.push_back(height(i));
      largest = std::max(largest, heights.back().log_volume);
    }
    std::vector<PointTensors> ways;
    std::vector<double> volumes;
    double sum = 0;
    for (const Height& one : heights) {
      const bool flat = one.log_volume == -std::numeric_limits<double>::infinity();
      volumes.push_back(flat ? 0 : std::exp(one.log_volume - largest));
      sum += volumes.back();
      ways.push_back(one.way);
    }
    std::vector<double> factors;
    for (size_t i = 0; i < heights.size(); ++i) {
      factors.push_back(volumes[i] > 0 ? volumes[i] / sum / heights[i].square : 0);
    }
    return combined(ways, factors);
  }

  const FusionInput& in_;
  std::vector<PointTensors> experts_, points_;
};

Weights trained_points(const FusionInput& in, const PathPoints& path, const Training& training) {
  const PathLoss loss(in, path, "espro", training.batch, training.weight_decay);
  Complex complex(in, path);
  for (int64_t k = 0; k < training.points; ++k) {
    complex.train_another(loss, training);
  }
  return path.packed(complex.points());
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const PathPoints path(in);
  const auto points = in.trained(trained_key("espro", options.training),
                                 [&] { return trained_points(in, path, options.training); });
  const Complex complex(in, path, path.unpacked(*points));
  std::vector<Weights> members;
  for (int64_t i = 0; i < options.members; ++i) {
    const auto coordinates =
        drawn_in_simplex(derive_key(in.seed(), "espro/members"), i, options.training.points + 1);
    members.push_back(path.model_of(complex.at(static_cast<size_t>(i) % complex.simplexes(), coordinates)));
  }
  return ensemble(
      std::move(members), EnsembleLevel::kProbabilities,
      [](const std::vector<at::Tensor>& answers, const std::string&) { return at::stack(answers).mean(0); });
}

const RegisterMethod<Options> registered{
    {.name = "espro",
     .title = "ESPRO",
     .paper = "Benton et al., ICML 2021, arXiv:2102.13042",
     .formula =
         R"(K = { simplex(theta_i, w_1, ..., w_points) },   w_k in turn minimises E[loss(theta)] - volume log V(K), theta ~ K
p(x) = 1/M sum_m softmax z(x; theta_m),   theta_m: uniform in the simplexes, which take turns)",
     .family = Family::kEnsemble,
     .grain = Grain::kWholeModel,
     .needs = {Need::kTrainInputs, Need::kTrainLabels, Need::kGradients},
     .demands = {Demand::kDistribution},
     .yields = Yields::kEnsemble,
     .random = true,
     .order_invariant = false,
     .cost = Cost::kTraining,
     .min_experts = 2},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::espro
