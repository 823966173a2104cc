// The surface normal of each pixel: the output is a map of vectors of any length.
//
// Pixels without a known normal count neither in training nor in metrics.
// Source:  Fouhey et al., "Data-Driven 3D Primitives for Single Image Understanding", ICCV 2013 (the metrics); Liu et
//          al., "End-to-End Multi-Task Learning with Attention", CVPR 2019, arXiv:1803.10704, section 4.1 (the loss).

#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/acos.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "tasks/maps.h"

namespace fusegrid::kinds::normals {
namespace {

constexpr double kDegrees = 180 / 3.14159265358979323846;  // of a radian
constexpr double kWithin = 11.25;                          // degrees
constexpr double kLeastLength = 1e-8;                      // of a vector that has a direction

class Normals final : public TaskKind {
 public:
  std::string doc() const override { return "the surface normal of each pixel"; }
  std::vector<std::string> metrics() const override { return {"mean_angle", "within_11"}; }
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  bool has_maps() const override { return true; }
  int64_t outputs(int64_t) const override { return 3; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;
};

// [n, height, width]
at::Tensor known_pixels(const at::Tensor& normals) {
  return at::isfinite(normals).all(1);
}

// Cosine of the angle between output [n, height, width, 3] and normal [n, 3, height, width]: [n, height, width].
at::Tensor cosines(const at::Tensor& output, const at::Tensor& normals) {
  const at::Tensor wanted =
      normals.where(at::isfinite(normals), at::zeros_like(normals)).permute({0, 2, 3, 1});
  const auto length = [](const at::Tensor& x) { return at::linalg_vector_norm(x, 2, {{-1}}); };
  return (output * wanted).sum(-1) / (length(output) * length(wanted)).clamp_min(kLeastLength);
}

at::Tensor Normals::losses(const at::Tensor& output, const Examples& examples) const {
  check_map(output, examples.maps, 3, "normals");
  const at::Tensor wanted = examples.maps.to(output.device());
  return mean_over_pixels(1 - cosines(output, wanted), known_pixels(wanted));
}

// Sums over pixels of the angle and of those within the limit, with the pixels that count behind each. In float64:
// the arc cosine near 1 loses half of the digits.
at::Tensor measure(const at::Tensor& output, const at::Tensor& wanted) {
  check_map(output, wanted, 3, "normals");
  const at::Tensor known = known_pixels(wanted);
  const at::Tensor angles =
      at::acos(cosines(output.to(at::kDouble), wanted.to(at::kDouble)).clamp(-1, 1)) * kDegrees;
  const at::Tensor pixels = known.sum({1, 2});
  return at::stack({sum_over_pixels(angles, known), pixels, (known & (angles < kWithin)).sum({1, 2}), pixels},
                   1);
}

Answers Normals::answer(const Examples& examples, const Asking& asking) const {
  const MapRows rows = rows_of_maps(examples, asking, measure);
  Answers answers;
  add_map_metric(answers, "mean_angle", rows, 0, 2);
  add_map_metric(answers, "within_11", rows, 2, 2);
  return answers;
}

const bool registered = [] {
  static const Normals kind;
  kind_registry().add("normals", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::normals
