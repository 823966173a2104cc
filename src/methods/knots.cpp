// KnOTS: write the task vectors of a matrix in one common orthonormal basis, merge their coordinates by TIES.
//
// Source:  Stoica et al., "Model Merging with SVD to Tie the KnOTS", ICLR 2025, arXiv:2410.19735. As in the
//          authors' code the merged coordinates are Sigma V_i^T, not V_i^T; the defaults are theirs for ViT.
// Differs: TIES keeps its largest entries per tensor, so that whole tensors suffice (the authors rank the entries
//          of the whole model, 0.1 to 0.3 points better in the small embedded zoo); a zero sum of signs elects -.
//          Tensors that are no matrices are merged by the same TIES as they are (LoRA, for which KnOTS was made,
//          has none). Task vectors of adapters are the products of their factors, without the rounding of weights.
// Cost:    one SVD of an N times wider matrix per matrix: the eigenvectors of its smaller Gram side.

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "core/concatenate.h"
#include "fusion/passes/direction.h"
#include "fusion/subspaces/matrix_merges.h"

namespace fusegrid::methods::knots {
namespace {

struct Options {
  double scale = 0.6;
  double density = 0.2;
  std::string merge = "mean";

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("scale", scale, Range{-2, 3}, "multiplier of the merged task vector");
    v.param("density", density, Range{0.001, 1}, "fraction of each expert's coordinates that are kept");
    v.param("merge", merge, Choices{"sum", "mean"}, "how agreeing coordinates are merged");
  }
};

// Of each the int(n density) entries of largest magnitude.
at::Tensor ties(const std::vector<at::Tensor>& values, const Options& options) {
  const auto kept = static_cast<int64_t>(static_cast<double>(values[0].numel()) * options.density);
  return ties_of_parameter(values, kept, options.merge);
}

at::Tensor merged(const Slice& slice, const Options& options) {
  std::vector<at::Tensor> taus;
  for (size_t i = 0; i < slice.num_experts(); ++i) {
    taus.push_back(exact_task_vector(slice, i));
  }
  if (!is_matrix(*slice.info)) {
    return ties(taus, options).to(at::kFloat);
  }
  const at::Tensor basis = significant_svd(concatenate(taus, 1)).u;
  std::vector<at::Tensor> coordinates;  // Sigma V_i^T = U^T tau_i
  for (const at::Tensor& tau : taus) {
    coordinates.push_back(at::matmul(basis.t(), tau));
  }
  return at::matmul(basis, ties(coordinates, options)).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [options](const Slice& slice) { return merged(slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "knots",
     .title = "KnOTS-TIES",
     .paper = "Stoica et al., ICLR 2025, arXiv:2410.19735",
     .formula = R"(matrices  [tau_1 .. tau_N] = U S [V_1^T .. V_N^T],   tau = U TIES(S V_1^T, .., S V_N^T)
others    tau = TIES(tau_1, .., tau_N)
TIES: keep the density largest |.| of each, elect the sign of their sum, sum | mean of those that agree
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::knots
