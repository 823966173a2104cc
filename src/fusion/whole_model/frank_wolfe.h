// The linear problem of Frank-Wolfe merging, in the space of the coefficients of task vectors: what its hard and its
// soft variant share.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/fusion_input.h"
#include "fusion/whole_model/coefficients.h"

namespace fusegrid {

// The labelled training examples whose mean loss over tasks all steps lower, and the models that steps go towards: the
// experts, and the model that the method starts from. Requires Need::kTrainInputs, kTrainLabels and kGradients.
class LinearProblem {
 public:
  // start: [experts, columns], the same in all columns; count: examples of each task.
  LinearProblem(const FusionInput& in, const at::Tensor& start, int64_t count);

  // Coefficients of the models that a step may go towards, [models, experts].
  const at::Tensor& vertices() const { return vertices_; }
  // Inner products of the loss's gradient at the merge by `lambdas` with what the vertices add to the base: [models,
  // columns].
  at::Tensor products(CoefficientMerge& merged, const at::Tensor& lambdas) const;

 private:
  const FusionInput& in_;
  at::Tensor vertices_;
  std::vector<Examples> examples_;  // by task
};

}  // namespace fusegrid
