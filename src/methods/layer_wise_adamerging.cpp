// Layer-wise AdaMerging: one coefficient per task and tensor ("layer" in the paper's words), learnt on
// unlabelled inputs. Source, differences and cost: fusion/whole_model/coefficients.h.

#include "fusion/whole_model/coefficients.h"

namespace fusegrid::methods::layer_wise_adamerging {
namespace {

FusedModel fuse(const FusionInput& in, const AdaptationOptions& options) {
  return adapt_coefficients(in, options, Granularity::kTensor);
}

const RegisterMethod<AdaptationOptions> registered{
    adamerging_card("layer_wise_adamerging", "Layer-wise AdaMerging", "lambda_i^l"),
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::layer_wise_adamerging
