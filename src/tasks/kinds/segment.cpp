// The class of each pixel: the output is a map of their logits.
//
// Pixels that have the class `ignore` count neither in training nor in metrics.

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "core/concatenate.h"
#include "tasks/maps.h"

namespace fusegrid::kinds::segment {
namespace {

class Segment final : public TaskKind {
 public:
  Segment() = default;
  explicit Segment(int64_t ignore) : ignore_(ignore) {}

  std::unique_ptr<const TaskKind> of_task(const TaskInfo& task, const TokenTable*) const override {
    return std::make_unique<Segment>(task.attributes.value("ignore", kNothingIgnored));
  }
  std::string doc() const override { return "the class of each pixel"; }
  std::vector<std::string> metrics() const override { return {"mean_iou", "pixel_accuracy"}; }
  bool has_distribution() const override { return true; }
  bool has_classes() const override { return false; }
  bool has_maps() const override { return true; }
  int64_t outputs(int64_t classes) const override { return classes; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  // A row for each pixel, since without labels nobody knows which count.
  at::Tensor log_probabilities(const at::Tensor& output, const Inputs&) const override {
    return at::log_softmax(output, -1).flatten(0, 2);
  }
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  static constexpr int64_t kNothingIgnored = -1;

  at::Tensor measure(const at::Tensor& output, const at::Tensor& wanted) const;

  int64_t ignore_ = kNothingIgnored;
};

at::Tensor Segment::losses(const at::Tensor& output, const Examples& examples) const {
  check_map(output, examples.maps, output.size(-1), "segment");
  const at::Tensor truth = examples.maps.to(output.device(), at::kLong);
  const at::Tensor of_pixels =
      at::cross_entropy_loss(output.permute({0, 3, 1, 2}), truth, {}, at::Reduction::None, ignore_);
  return mean_over_pixels(of_pixels, truth != ignore_);
}

// How many of the pixels chosen have each class: [n, classes].
at::Tensor counts(const at::Tensor& classes, const at::Tensor& chosen, int64_t num_classes) {
  const at::Tensor column = classes.where(chosen, at::full_like(classes, num_classes)).flatten(1);
  return at::zeros({column.size(0), num_classes + 1}, column.options().dtype(at::kFloat))
      .scatter_add(1, column, at::ones_like(column, at::kFloat))
      .narrow(1, 0, num_classes);
}

// Pixels of both and of either for each class, pixels that are right, pixels that count.
at::Tensor Segment::measure(const at::Tensor& output, const at::Tensor& wanted) const {
  const int64_t classes = output.size(-1);
  check_map(output, wanted, classes, "segment");
  const at::Tensor truth = wanted.to(at::kLong);
  const at::Tensor predicted = at::argmax(output, -1);
  const at::Tensor counting = truth != ignore_;
  const at::Tensor right = counting & (predicted == truth);
  const at::Tensor both = counts(truth, right, classes);
  const at::Tensor either = counts(truth, counting, classes) + counts(predicted, counting, classes) - both;
  return concatenate({both, either, at::stack({right.sum({1, 2}), counting.sum({1, 2})}, 1).to(at::kFloat)},
                     1);
}

Answers Segment::answer(const Examples& examples, const Asking& asking) const {
  const MapRows rows = rows_of_maps(
      examples, asking,
      [this](const at::Tensor& output, const at::Tensor& wanted) { return measure(output, wanted); });
  const int64_t of_classes = rows.rows.size(1) - 2;
  Answers answers;
  add_map_metric(answers, "mean_iou", rows, 0, of_classes);
  add_map_metric(answers, "pixel_accuracy", rows, of_classes, 2);
  return answers;
}

const bool registered = [] {
  static const Segment kind;
  kind_registry().add("segment", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::segment
