// The depth of each pixel: the output is a map of one number, the depth in units of `sd` from `mean`.
//
// Pixels without a known depth count neither in training nor in metrics.
// Source:  Eigen et al., "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014,
//          arXiv:1406.2283, section 4 (the relative error).

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>

#include "tasks/maps.h"

namespace fusegrid::kinds::depth {
namespace {

class Depth final : public TaskKind {
 public:
  Depth() = default;
  Depth(double mean, double sd) : mean_(mean), sd_(sd) {}

  std::unique_ptr<const TaskKind> of_task(const TaskInfo& task, const TokenTable*) const override {
    return std::make_unique<Depth>(task.attributes.value("mean", 0.0), task.attributes.value("sd", 1.0));
  }
  std::string doc() const override { return "the depth of each pixel"; }
  std::vector<std::string> metrics() const override { return {"absolute_error", "relative_error"}; }
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  bool has_maps() const override { return true; }
  int64_t outputs(int64_t) const override { return 1; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  at::Tensor measure(const at::Tensor& output, const at::Tensor& wanted) const;

  double mean_ = 0, sd_ = 1;
};

// Depths with 1 in place of those that are not known, which are no divisors.
at::Tensor filled(const at::Tensor& depths, const at::Tensor& known) {
  return depths.where(known, at::ones_like(depths));
}

at::Tensor Depth::losses(const at::Tensor& output, const Examples& examples) const {
  check_map(output, examples.maps, 1, "depth");
  const at::Tensor wanted = examples.maps.to(output.device());
  const at::Tensor known = at::isfinite(wanted);
  return mean_over_pixels((output.squeeze(-1) - (filled(wanted, known) - mean_) / sd_).abs(), known);
}

// Sums over pixels of the error and of its share of the depth, with the pixels that count behind each.
at::Tensor Depth::measure(const at::Tensor& output, const at::Tensor& wanted) const {
  check_map(output, wanted, 1, "depth");
  const at::Tensor known = at::isfinite(wanted);
  const at::Tensor depths = filled(wanted, known);
  const at::Tensor errors = (output.squeeze(-1).to(at::kFloat) * sd_ + mean_ - depths).abs();
  const at::Tensor pixels = known.sum({1, 2});
  return at::stack({sum_over_pixels(errors, known), pixels, sum_over_pixels(errors / depths, known), pixels},
                   1);
}

Answers Depth::answer(const Examples& examples, const Asking& asking) const {
  const MapRows rows = rows_of_maps(
      examples, asking,
      [this](const at::Tensor& output, const at::Tensor& wanted) { return measure(output, wanted); });
  Answers answers;
  add_map_metric(answers, "absolute_error", rows, 0, 2);
  add_map_metric(answers, "relative_error", rows, 2, 2);
  return answers;
}

const bool registered = [] {
  static const Depth kind;
  kind_registry().add("depth", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::depth
