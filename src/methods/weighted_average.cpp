// Weighted average: a linear combination of the experts' weights.
//
// Source:  Matena & Raffel, NeurIPS 2022, arXiv:2111.09832 (section 3, isotropic case).
// Differs: integer tensors are copied from the first expert.
// Cost:    one pass over N experts.

#include "core/model_weights.h"
#include "fusion/fusion_input.h"

namespace fusegrid::methods::weighted_average {
namespace {

struct Options {
  std::vector<double> weights;
  bool normalize = true;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("weights", weights, Range{-100, 100}, "weight of each expert, in their order; empty: all equal");
    v.param("normalize", normalize, "divide the weights by their sum");
  }
  void check(int64_t experts) const { model_weights("weighted_average", weights, normalize, experts); }
};

FusedModel fuse(const FusionInput& in, const Options& options) {
  const auto weights = model_weights("weighted_average", options.weights, options.normalize,
                                     static_cast<int64_t>(in.num_experts()));
  return one_model(
      in.map_elements([&](const Slice& slice) { return weighted_sum_of(slice.expert_views(), weights); }));
}

const RegisterMethod<Options> registered{
    {.name = "weighted_average",
     .title = "Weighted Average",
     .paper = "Matena & Raffel, NeurIPS 2022, arXiv:2111.09832",
     .formula = "theta = sum_i w_i theta_i,   w divided by its sum if normalize",
     .family = Family::kAveraging,
     .order_invariant = false},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::weighted_average
