// Dtypes of a merge: what its arithmetic rounds to, and what it writes.
#pragma once

#include <vector>

#include "core/weights.h"
#include "merge/merge.h"

namespace fusegrid {

// With precision=compat: sets what the arithmetic of each tensor of plan.models rounds to and, where nobody chose it,
// the dtype of the result. Throws ConfigError where mergekit's arithmetic is not defined in that dtype.
void set_rounding(MergePlan& plan);

// All tensors of a result, those that are merged in the dtype that the plan has chosen.
std::vector<TensorInfo> tensors_of_result(const MergePlan& plan);

}  // namespace fusegrid
