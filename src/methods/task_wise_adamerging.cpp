// Task-wise AdaMerging: one coefficient per task, learnt on unlabelled inputs. Source, differences and cost:
// fusion/whole_model/coefficients.h.

#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::task_wise_adamerging {
namespace {

FusedModel fuse(const FusionInput& in, const AdaptationOptions& options) {
  return adapt_coefficients(in, options, Granularity::kTask);
}

const RegisterMethod<AdaptationOptions> registered{
    adamerging_card("task_wise_adamerging", "Task-wise AdaMerging", "lambda_i"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::task_wise_adamerging
