// Layer-wise AdaMerging++: layer-wise AdaMerging of task vectors that are trimmed and whose conflicting entries are
// zero, as in TIES. Source, differences and cost: fusion/whole_model/coefficients.h.

#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::layer_wise_adamerging_pp {
namespace {

FusedModel fuse(const FusionInput& in, const TrimmedAdaptationOptions& options) {
  return adapt_trimmed_coefficients(in, options, Granularity::kTensor);
}

const RegisterMethod<TrimmedAdaptationOptions> registered{
    adamerging_plus_card("layer_wise_adamerging_pp", "Layer-wise AdaMerging++", "lambda_i^l"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::layer_wise_adamerging_pp
