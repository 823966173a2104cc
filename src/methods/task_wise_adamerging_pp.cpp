// Task-wise AdaMerging++: task-wise AdaMerging of task vectors that are trimmed and whose conflicting entries are zero,
// as in TIES. Source, differences and cost: fusion/whole_model/coefficients.h.

#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::task_wise_adamerging_pp {
namespace {

FusedModel fuse(const FusionInput& in, const TrimmedAdaptationOptions& options) {
  return adapt_trimmed_coefficients(in, options, Granularity::kTask);
}

const RegisterMethod<TrimmedAdaptationOptions> registered{
    adamerging_plus_card("task_wise_adamerging_pp", "Task-wise AdaMerging++", "lambda_i"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::task_wise_adamerging_pp
