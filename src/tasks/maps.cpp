#include "tasks/maps.h"

#include <utility>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "core/errors.h"

namespace fusegrid {

void check_map(const at::Tensor& output, const at::Tensor& wanted, int64_t values, const std::string& kind) {
  const int64_t height = wanted.size(-2);
  const int64_t width = wanted.size(-1);
  if (output.dim() != 4 || output.size(1) != height || output.size(2) != width || output.size(3) != values) {
    std::string seen;
    for (int64_t axis = 1; axis < output.dim(); ++axis) {
      seen += (axis > 1 ? " x " : "") + std::to_string(output.size(axis));
    }
    throw DataError("an answer to a task of the kind " + kind + " is a map of " + std::to_string(height) +
                    " x " + std::to_string(width) + " pixels with " + std::to_string(values) +
                    " numbers each, but that of the task's head has " + seen +
                    "; 'fusegrid zoo verify' checks the heads of a zoo");
  }
}

at::Tensor sum_over_pixels(const at::Tensor& of_pixels, const at::Tensor& counting) {
  return of_pixels.where(counting, at::zeros_like(of_pixels)).to(at::kDouble).sum({1, 2});
}

at::Tensor mean_over_pixels(const at::Tensor& of_pixels, const at::Tensor& counting) {
  const at::Tensor sums = of_pixels.where(counting, at::zeros_like(of_pixels)).sum({1, 2});
  return sums / counting.sum({1, 2}).clamp_min(1);
}

// The device is not waited for between batches.
MapRows rows_of_maps(
    const Examples& examples, const Asking& asking,
    const std::function<at::Tensor(const at::Tensor& output, const at::Tensor& wanted)>& measure) {
  const at::NoGradGuard no_grad;
  const int64_t count = examples.inputs.size();
  FUSEGRID_ASSERT(count > 0 && examples.maps.defined() && examples.maps.size(0) == count,
                  std::to_string(count) + " examples");
  std::vector<at::Tensor> places, measured, finite;
  asking.feed(examples.inputs, asking.batch, [&](const Inputs& ready, const at::Tensor& rows) {
    const at::Tensor output = asking.output(ready, nullptr);
    const at::Tensor wanted =
        examples.maps.index_select(0, rows.to(examples.maps.device())).to(output.device());
    places.push_back(rows);
    measured.push_back(measure(output, wanted).to(at::kFloat));
    finite.push_back(at::isfinite(output).all());
    asking.on_batch();
  });
  const at::Tensor all = concatenate(measured).cpu();
  return {at::empty({count, all.size(1)}, at::kFloat).index_copy_(0, concatenate(places), all),
          at::stack(finite).all().item<bool>()};
}

void add_map_metric(Answers& answers, const std::string& metric, const MapRows& rows, int64_t begin,
                    int64_t width) {
  const at::Tensor columns = rows.rows.narrow(1, begin, width).contiguous();
  const auto* numbers = columns.const_data_ptr<float>();
  Outcomes outcomes{"", metric, width, {numbers, numbers + columns.numel()}};
  add_metric(answers, metric, number_rows(width, outcomes.rows));
  answers.outcomes.push_back(std::move(outcomes));
  answers.examples = columns.size(0);
  answers.finite = rows.finite;
}

}  // namespace fusegrid
