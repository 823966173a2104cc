// Iso-C: sum the task vectors and make the spectrum of every matrix flat.
//
// Source:  Marczak et al., "No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces",
//          ICML 2025, arXiv:2502.04959; tensors that are no matrices are averaged, as in the authors' code.
// Differs: singular values that are rounding (see svd.h) are not raised to the mean: their vectors are arbitrary. The
//          authors' code averages CLIP's `text_projection`, which is a matrix and is merged as one here: that shows on
//          a full CLIP only.
// Cost:    one SVD per matrix; a sweep of scales shares it.

#include <algorithm>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/matrix_merges.h"

namespace fusegrid::methods::iso_c {
namespace {

struct Options {
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 10}, "multiplier of the merged task vector");
  }
};

at::Tensor merged(const Slice& slice) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const int64_t directions = std::min(slice.base().size(0), slice.base().size(1));
  return isotropic(sum_of(slice.task_vector_views()), directions).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  return in.matrix_field(key, merged);
}

const RegisterDirection<Options> registered{
    {.name = "iso_c",
     .title = "Iso-C",
     .paper = "Marczak et al., ICML 2025, arXiv:2502.04959",
     .formula = R"(matrices  sum_i tau_i = U S V^T,   tau = mean(S) U V^T
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::iso_c
