// One of several classes: the output is their logits.

#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/log_softmax.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::classify {
namespace {

class Classify final : public TaskKind {
 public:
  std::string doc() const override { return "one of several classes"; }
  std::vector<std::string> metrics() const override { return {"accuracy", "loss", "macro_f1", "mcc"}; }
  bool has_distribution() const override { return true; }
  bool has_classes() const override { return true; }
  int64_t outputs(int64_t classes) const override { return classes; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override {
    return at::cross_entropy_loss(output, examples.labels.to(output.device()), {}, at::Reduction::None);
  }
  at::Tensor log_probabilities(const at::Tensor& output, const Inputs&) const override {
    return at::log_softmax(output, 1);
  }
  Answers answer(const Examples& examples, const Asking& asking) const override;
};

// The device is not waited for between batches.
Answers Classify::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.labels.size(0) == count, std::to_string(count) + " examples");
  std::vector<at::Tensor> places, classes,
      losses;  // losses are per example: their sum does not depend on the batches
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& rows) {
    const at::Tensor logits = asking.output(ready, nullptr);
    const at::Tensor truth =
        examples.labels.index_select(0, rows.to(examples.labels.device())).to(logits.device());
    places.push_back(rows);
    classes.push_back(at::argmax(logits, 1));
    losses.push_back(at::cross_entropy_loss(logits, truth, {}, at::Reduction::None).to(at::kDouble));
    asking.on_batch();
  });
  const at::Tensor order = concatenate(places);
  const at::Tensor predicted =
      at::empty({count}, at::kLong).index_copy_(0, order, concatenate(classes).cpu());
  const at::Tensor loss = at::empty({count}, at::kDouble).index_copy_(0, order, concatenate(losses).cpu());
  const at::Tensor truth = examples.labels.cpu();
  Answers answers;
  answers.examples = count;
  const auto* prediction = predicted.const_data_ptr<int64_t>();
  const auto* label = truth.const_data_ptr<int64_t>();
  Outcomes correct{"", "accuracy", 1, {}};
  for (int64_t i = 0; i < count; ++i) {
    answers.predictions.push_back(static_cast<int32_t>(prediction[i]));
    correct.rows.push_back(prediction[i] == label[i] ? 1 : 0);
  }
  const std::vector<int32_t> labels(label, label + count);
  add_metric(answers, "accuracy", number_rows(1, correct.rows));
  for (const std::string name : {"macro_f1", "mcc"}) {
    add_metric(answers, name, class_rows(answers.predictions, labels));
  }
  answers.outcomes.push_back(std::move(correct));
  const auto* values = loss.const_data_ptr<double>();
  answers.metrics["loss"] = std::accumulate(values, values + count, 0.0) / static_cast<double>(count);
  answers.finite = loss.isfinite().all().item<bool>();
  return answers;
}

const bool registered = [] {
  static const Classify kind;
  kind_registry().add("classify", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::classify
