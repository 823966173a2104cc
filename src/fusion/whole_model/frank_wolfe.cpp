#include "fusion/whole_model/frank_wolfe.h"

#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
#include "fusion/whole_model/labelled_batches.h"

namespace fusegrid {

LinearProblem::LinearProblem(const FusionInput& in, const at::Tensor& start, int64_t count)
    : in_(in),
      vertices_(concatenate({at::eye(start.size(0), start.options()), start.select(1, 0).unsqueeze(0)})) {
  for (const std::string& task : in.tasks()) {
    Examples examples = in.train_examples(task, count).to(in.network().device);
    examples.inputs = in.network().ready(examples.inputs);
    examples_.push_back(std::move(examples));
  }
}

at::Tensor LinearProblem::products(CoefficientMerge& merged, const at::Tensor& lambdas) const {
  merged.merge(lambdas);
  const std::vector<double> equal(examples_.size(), 1.0 / static_cast<double>(examples_.size()));
  backward_of_losses(in_, merged.weights(), examples_, equal);
  return at::matmul(vertices_, merged.gradient(lambdas));
}

}  // namespace fusegrid
