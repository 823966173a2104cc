// What methods see of models that have NaN or infinity, and what results have there.
#pragma once

#include <ATen/core/Tensor.h>

#include "fusion/slice.h"

namespace fusegrid {

// One rule for all methods: an entry that is NaN or infinite (in float32) in any model that the method reads counts
// as 0 in all of them, so that it weighs in no norm, threshold or decomposition and its task vectors are 0. The
// result has there the sum of what was not finite: an infinity that all such models share, else NaN.
struct NonFiniteEntries {
  explicit NonFiniteEntries(const Slice& seen);

  Slice slice;       // as the method sees it
  at::Tensor marks;  // float32, 1-D: 0 where all models are finite; undefined where that is everywhere

  // `values` of a result with the marks in their places.
  static at::Tensor with_marks(const at::Tensor& values, const at::Tensor& marks);
};

}  // namespace fusegrid
