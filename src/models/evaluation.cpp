#include "models/evaluation.h"

#include <algorithm>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/isfinite.h>

#include "core/concatenate.h"
#include "core/errors.h"

namespace fusegrid {

Answers answer(const Network& network, const at::Tensor& images, const at::Tensor& labels, int64_t batch,
               const std::function<at::Tensor(const at::Tensor& pixels)>& logits_of,
               const std::function<void()>& on_batch) {
  const at::NoGradGuard no_grad;
  const int64_t count = images.size(0);
  FUSEGRID_ASSERT(count > 0 && labels.size(0) == count, std::to_string(count) + " images");
  std::vector<at::Tensor> classes;
  std::vector<at::Tensor> losses;  // per example, so that the sum does not depend on the batch size
  for (int64_t begin = 0; begin < count; begin += batch) {
    const int64_t size = std::min(batch, count - begin);
    const at::Tensor logits = logits_of(network.pixels(images.narrow(0, begin, size)));
    const at::Tensor truth = labels.narrow(0, begin, size).to(logits.device());
    classes.push_back(at::argmax(logits, 1));
    losses.push_back(at::cross_entropy_loss(logits, truth, {}, at::Reduction::None).to(at::kDouble));
    on_batch();
  }
  const at::Tensor predicted = concatenate(classes).cpu();
  const at::Tensor loss = concatenate(losses).cpu();
  const at::Tensor truth = labels.cpu();
  Answers answers;
  const auto* prediction = predicted.const_data_ptr<int64_t>();
  const auto* label = truth.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    answers.predictions.push_back(static_cast<uint16_t>(prediction[i]));
    answers.correct.push_back(prediction[i] == label[i] ? 1 : 0);
  }
  const auto right = std::accumulate(answers.correct.begin(), answers.correct.end(), int64_t{0});
  answers.accuracy = static_cast<double>(right) / static_cast<double>(count);
  const auto* values = loss.const_data_ptr<double>();
  answers.loss = std::accumulate(values, values + count, 0.0) / static_cast<double>(count);
  answers.finite = loss.isfinite().all().item<bool>();
  return answers;
}

}  // namespace fusegrid
