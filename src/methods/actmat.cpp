// ACTMat: RegMean without data, where an expert's task vector stands for the inputs of its layers.
//
// Source:  Gamal Abdel Hameed et al., "Model Merging via Data-Free Covariance Estimation", 2026, arXiv:2604.01329, and
//          the authors' code, which averages tensors that are no matrices.
// Differs: float64. The eigenvalues that the pseudoinverse drops are those that the authors' drops in float32.
// Cost:    one eigendecomposition per matrix; a sweep of scales shares it.

#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/interference.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::actmat {
namespace {

struct Options {
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

at::Tensor merged(const Slice& slice) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const Interference parts = interference(slice, /*normalised=*/false);
  const double tolerance =
      static_cast<double>(parts.values.numel()) * static_cast<double>(std::numeric_limits<float>::epsilon());
  const at::Tensor kept = (parts.values > parts.values[0] * tolerance).to(at::kDouble);
  const double least = std::numeric_limits<double>::min();
  return filtered_solution(parts, at::zeros_like(parts.sum), kept, least).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  return in.matrix_field(key, merged);
}

const RegisterDirection<Options> registered{
    {.name = "actmat",
     .title = "ACTMat",
     .paper = "Gamal Abdel Hameed et al., 2026, arXiv:2604.01329",
     .formula = R"(matrices  C_i = tau_i^T tau_i,   tau = (sum_i tau_i C_i) (sum_i C_i)^+
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::actmat
