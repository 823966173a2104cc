// Pictures that a flow makes: the output is the velocity of a state, which moves from noise to a picture in equal steps
// of Euler's. A frozen judge of the pack says whether they show what was asked for.
//
// The noise is that of the inputs, a function of task, split and example. What the judge sees is rounded to the 256
// values that a stored picture has.
// Source:  Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", ICLR 2023,
//          arXiv:2209.03003 (the flow); Tam et al., "Realistic Evaluation of Model Merging for Compositional
//          Generalization", arXiv:2409.18314 (what merged flows are asked).

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/nan_to_num.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "core/png.h"
#include "metrics/frechet.h"
#include "tasks/judge.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::sample {
namespace {

constexpr int64_t kSteps = 16;
constexpr int64_t kShown = 4;  // pictures of a task that are recorded for people to look at

// The velocities of patches, [n, patches, side * side * channels] row by row, as a velocity of the state.
at::Tensor velocity_of(const at::Tensor& output, const at::Tensor& state) {
  const int64_t channels = state.size(1), height = state.size(2), width = state.size(3);
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(output.size(-1) / channels)));
  const bool fits = output.dim() == 3 && side > 0 && side * side * channels == output.size(2) &&
                    height % side == 0 && width % side == 0 &&
                    output.size(1) == (height / side) * (width / side);
  if (!fits) {
    throw DataError(
        "an answer to a task of the kind sample is a velocity of each patch of a state, but the output "
        "of the model is no such; use the task pack that it was trained on");
  }
  return output.reshape({-1, height / side, width / side, side, side, channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape(state.sizes());
}

class Sample final : public TaskKind {
 public:
  Sample() = default;
  explicit Sample(const TaskInfo& task)
      : steps_(task.attributes.value("euler_steps", kSteps)),
        classes_(static_cast<int64_t>(task.class_names.size())) {
    FUSEGRID_ASSERT(task.judge != nullptr, "a task of samples has a judge");
    judge_ = std::make_shared<Judge>(*task.judge, classes_, static_cast<int64_t>(task.style_names.size()));
  }

  std::unique_ptr<const TaskKind> of_task(const TaskInfo& task, const TokenTable*) const override {
    return std::make_unique<Sample>(task);
  }
  std::string doc() const override { return "pictures of a class in a style, made from noise"; }
  std::vector<std::string> metrics() const override {
    return {"class_agreement", "style_agreement", "agreement"};
  }
  // The distance of what the judge sees in samples and in real pictures, and how often it is right on these.
  std::vector<std::string> numbers() const override {
    return {"frechet_distance", "judge_class", "judge_style"};
  }
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  bool has_states() const override { return true; }
  int64_t outputs(int64_t) const override { return 0; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;

 private:
  at::Tensor made(const Inputs& ready, const Asker& output) const;

  int64_t steps_ = kSteps, classes_ = 0;
  std::shared_ptr<const Judge> judge_;
};

// Flow matching: the mean square of what the velocity is off.
at::Tensor Sample::losses(const at::Tensor& output, const Examples& examples) const {
  const at::Tensor wanted = examples.velocities.to(output.device());
  return (velocity_of(output, wanted) - wanted).square().flatten(1).mean(1);
}

// Where the states are at time 1: float [n, channels, height, width].
at::Tensor Sample::made(const Inputs& ready, const Asker& output) const {
  Inputs inputs = ready;
  inputs.state = ready.state.to(at::kFloat);
  const at::Tensor step = (1 - ready.time) / static_cast<double>(steps_);
  for (int64_t i = 0; i < steps_; ++i) {
    inputs.time = ready.time + step * static_cast<double>(i);
    const at::Tensor velocity = velocity_of(output(inputs, nullptr), inputs.state).to(at::kFloat);
    inputs.state = inputs.state + velocity * step.view({-1, 1, 1, 1});
  }
  return inputs.state;
}

// As a stored picture is read.
at::Tensor rounded_picture(const at::Tensor& states) {
  return ((at::nan_to_num(states).clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1;
}

// The first pictures side by side. pictures: float [n, channels, height, width] in [-1, 1].
std::string shown(const at::Tensor& pictures) {
  const at::Tensor first = pictures.narrow(0, 0, std::min(kShown, pictures.size(0)));
  const at::Tensor strip = at::constant_pad_nd(first, {1, 1, 1, 1}).permute({2, 0, 3, 1}).flatten(1, 2);
  const at::Tensor bytes = ((strip + 1) * 127.5).round().to(at::kByte).contiguous();
  const auto* values = bytes.const_data_ptr<uint8_t>();
  return png_url({bytes.size(2), bytes.size(0), bytes.size(1), {values, values + bytes.numel()}});
}

void add_hits(Answers& answers, const std::string& metric, const at::Tensor& hits) {
  const at::Tensor marks = hits.to(at::kFloat).contiguous();
  const auto* numbers = marks.const_data_ptr<float>();
  Outcomes outcomes{"", metric, 1, {numbers, numbers + marks.numel()}};
  add_metric(answers, metric, number_rows(1, outcomes.rows));
  answers.outcomes.push_back(std::move(outcomes));
}

Answers Sample::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  FUSEGRID_ASSERT(judge_ != nullptr, "a kind of no task makes no samples");
  std::vector<at::Tensor> places, states;
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& rows) {
    places.push_back(rows);
    states.push_back(made(ready, asking.output).cpu());
    asking.on_batch();
  });
  const at::Tensor all = concatenate(states);
  const at::Tensor in_order = at::empty_like(all).index_copy_(0, concatenate(places), all);
  const at::Tensor pictures = rounded_picture(in_order);
  const Judge::Verdict verdict = (*judge_)(pictures);
  const Judge::Verdict real = (*judge_)(examples.pictures);
  const at::Tensor condition = examples.inputs.condition.cpu();
  const at::Tensor classes = condition.select(1, 0), styles = condition.select(1, 1) - classes_;

  Answers answers;
  answers.examples = in_order.size(0);
  answers.finite = at::isfinite(in_order).all().item<bool>();
  const at::Tensor is_class = verdict.classes == classes, is_style = verdict.styles == styles;
  add_hits(answers, "class_agreement", is_class);
  add_hits(answers, "style_agreement", is_style);
  add_hits(answers, "agreement", is_class & is_style);
  const auto share = [](const at::Tensor& hits) { return hits.to(at::kDouble).mean().item<double>(); };
  if (pictures.size(1) == 1 || pictures.size(1) == 3) {
    answers.facts["pictures"] = shown(pictures);
    answers.facts["real pictures"] = shown(examples.pictures.cpu());
  }
  answers.metrics["frechet_distance"] = frechet_distance(verdict.features, real.features);
  answers.metrics["judge_class"] = share(real.classes == classes);
  answers.metrics["judge_style"] = share(real.styles == styles);
  return answers;
}

const bool registered = [] {
  static const Sample kind;
  kind_registry().add("sample", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::sample
