// TSV-M: give every task an equal share of the singular directions of each matrix and make the shares orthogonal.
//
// Source:  Gargiulo et al., "Task Singular Vectors: Reducing Task Interference in Model Merging", CVPR 2025,
//          arXiv:2412.00081; tensors that are no matrices are averaged, as in the authors' code.
// Differs: only significant singular triplets take part (see svd.h), and directions that several tasks share are
//          orthogonalised within their common span. The authors' code also takes singular vectors of zero singular
//          values, which the SVD library chooses: they turn the others of low-rank task vectors. It averages CLIP's
//          `text_projection`, which is a matrix and is merged as one here: that shows on a full CLIP only.
// Cost:    an SVD per matrix and expert, shared by all subspace methods; two small ones per matrix.

#include <algorithm>

#include "fusion/passes/direction.h"
#include "fusion/subspaces/matrix_merges.h"

namespace fusegrid::methods::tsv_m {
namespace {

struct Options {
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
  }
};

at::Tensor merged(const FusionInput& in, const Slice& slice) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const auto experts = static_cast<int64_t>(in.num_experts());
  const int64_t share = std::min(slice.base().size(0), slice.base().size(1)) / experts;
  std::vector<Svd> parts;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    parts.push_back(task_vector_svd(in, slice, i).first(share));
  }
  return orthogonalised_sum(parts).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options&, const std::string& key) {
  return in.matrix_field(key, [&in](const Slice& slice) { return merged(in, slice); });
}

const RegisterDirection<Options> registered{
    {.name = "tsv_m",
     .title = "TSV-M",
     .paper = "Gargiulo et al., CVPR 2025, arXiv:2412.00081",
     .formula =
         R"(matrices  tau_i = U_i S_i V_i^T,   keep the r/N leading triplets of each,  r = min(rows, columns)
          U = [U_1 .. U_N],  V = [V_1 .. V_N],  S = diag(S_1 .. S_N)
          tau = polar(U) S polar(V)^T,   polar(X) = X (X^T X)^-1/2
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::tsv_m
