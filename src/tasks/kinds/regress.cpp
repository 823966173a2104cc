// A number: the output is one column.

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/square.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "metrics/correlation.h"
#include "tasks/kind.h"

namespace fusegrid::kinds::regress {
namespace {

class Regress final : public TaskKind {
 public:
  std::string doc() const override { return "a number"; }
  std::vector<std::string> metrics() const override { return {"pearson", "rmse"}; }
  bool has_distribution() const override { return false; }
  bool has_classes() const override { return false; }
  int64_t outputs(int64_t) const override { return 1; }

  at::Tensor losses(const at::Tensor& output, const Examples& examples) const override;
  Answers answer(const Examples& examples, const Asking& asking) const override;
};

// [rows]
at::Tensor numbers_of(const at::Tensor& output) {
  if (output.dim() != 2 || output.size(1) != 1) {
    throw DataError("an answer to a task of the kind regress is one number, but the head of the task has " +
                    std::to_string(output.size(-1)) +
                    " outputs; 'fusegrid zoo verify' checks the heads of a zoo");
  }
  return output.squeeze(1);
}

bool all_finite(const std::vector<float>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](float number) { return std::isfinite(number); });
}

at::Tensor Regress::losses(const at::Tensor& output, const Examples& examples) const {
  return at::square(numbers_of(output) - examples.values.to(output.device()));
}

// The device is not waited for between batches.
Answers Regress::answer(const Examples& examples, const Asking& asking) const {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.values.size(0) == count, std::to_string(count) + " examples");
  std::vector<at::Tensor> places, numbers;
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& rows) {
    places.push_back(rows);
    numbers.push_back(numbers_of(asking.output(ready, nullptr)).to(at::kFloat));
    asking.on_batch();
  });
  const at::Tensor answered =
      at::empty({count}, at::kFloat).index_copy_(0, concatenate(places), concatenate(numbers).cpu());
  const at::Tensor wanted = examples.values.cpu();
  Outcomes products{"", "pearson", kPairWidth, {}};
  Outcomes squares{"", "rmse", 1, {}};
  for (int64_t i = 0; i < count; ++i) {
    const float x = answered.const_data_ptr<float>()[i];
    const float y = wanted.const_data_ptr<float>()[i];
    add_pair(products.rows, x, y);
    squares.rows.push_back((x - y) * (x - y));
  }
  Answers answers;
  answers.examples = count;
  answers.finite =
      all_finite(products.rows) && all_finite(squares.rows);  // of answers that diverge, squares overflow
  add_metric(answers, "pearson", number_rows(products.width, products.rows));
  add_metric(answers, "rmse", number_rows(squares.width, squares.rows));
  answers.outcomes = {std::move(products), std::move(squares)};
  return answers;
}

const bool registered = [] {
  static const Regress kind;
  kind_registry().add("regress", &kind);
  return true;
}();

}  // namespace
}  // namespace fusegrid::kinds::regress
