// Core Space: write the low-rank task vectors of a matrix in two orthonormal bases that all experts share, one of their
// outputs and one of their inputs, and merge the small core matrices by a method of choice.
//
// Source:  Panariello et al., "Accurate and Efficient Low-Rank Model Merging in Core Space", NeurIPS 2025,
//          arXiv:2509.17786, and the authors' code, whose experts are LoRA factors: tau_i = B_i A_i.
// Differs: of experts that are adapters B_i and A_i are theirs, as in the authors' code. Others arrive as effective
//          weights, and factors of these are not unique (B_i G, G^-1 A_i): there B_i and A_i are the balanced factors
//          of the `rank` leading significant triplets (see svd.h), so the bases are the eigenvectors of
//          sum_i (tau_i tau_i^T)^1/2 and sum_i (tau_i^T tau_i)^1/2. Task arithmetic, TSV and Iso-C depend on the space
//          that a basis spans, TIES on the basis itself, but not on the signs of its vectors: a flip negates a row or
//          column of all cores. Where singular values of the stacked factors are equal, their
//          vectors, and so the result of TIES, are arbitrary. Directions below the rounding of the weights
//          are left out of the bases, and Iso-C does not raise them, though its mean counts them as the authors'
//          does. TIES keeps as many entries as theirs, of equal ones the first; a zero sum elects -, theirs the sign
//          that most entries of the matrix have. Tensors that are no matrices (LoRA has none) are added, averaged (TSV,
//          Iso-C) or merged by the same TIES.
// Cost:    an SVD per matrix and expert, shared by all subspace methods, and for each rank and rule those of the two
//          stacked factors. With rank = 0 the bases of fully fine-tuned experts are complete, and only TIES differs
//          from the method that works on the whole matrix.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "fusion/passes/direction.h"
#include "fusion/subspaces/matrix_merges.h"
#include "fusion/subspaces/task_factors.h"

namespace fusegrid::methods::core_space {
namespace {

struct Options {
  int64_t rank = 0;
  std::string merge = "ties";
  double density = 0.1;
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("rank", rank, Range{0, 1 << 20},
            "singular triplets of each task vector, the rank of its factors; 0: all, and an adapter's own "
            "factors");
    v.param("merge", merge, Choices{"task_arithmetic", "ties", "tsv", "iso_c", "ties_iso_c", "tsv_iso_c"},
            "how cores are merged; ..._iso_c: then makes the merged core isotropic");
    v.param("density", density, Range{0.001, 1}, "ties: fraction of the entries of each core that are kept");
    v.param("scale", scale, Range{-2, 10}, "multiplier of the merged task vector");
  }

  bool ties() const { return merge.starts_with("ties"); }
  bool tsv() const { return merge.starts_with("tsv"); }
  bool isotropic() const { return merge.ends_with("iso_c"); }
};

struct CoreSpace {
  at::Tensor left;         // U_B, [rows, k], of outputs
  at::Tensor right;        // V_A, [columns, l], of inputs
  std::vector<Svd> cores;  // M_i = U_B^T tau_i V_A, [k, l]
  // Shorter side of the authors' cores; k and l are smaller where experts share directions.
  int64_t directions = 0;
};

CoreSpace core_space(const FusionInput& in, const Slice& slice, int64_t rank) {
  std::vector<Svd> taus;
  std::vector<at::Tensor> b;
  std::vector<at::Tensor> a;  // transposed
  int64_t ranks = 0;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    const Svd svd = task_vector_svd(in, slice, i);
    taus.push_back(rank == 0 ? svd : svd.first(rank));
    const TaskFactors factors = factors_of(in, slice, i, rank);
    b.push_back(factors.b);
    a.push_back(factors.a);
    ranks += taus.back().rank();
  }
  CoreSpace space;
  space.left = significant_svd(concatenate(b, 1)).u;
  space.right = significant_svd(concatenate(a, 1)).u;
  for (const Svd& tau : taus) {
    space.cores.push_back({at::matmul(space.left.t(), tau.u), tau.s, at::matmul(space.right.t(), tau.v)});
  }
  space.directions = std::min({ranks, slice.base().size(0), slice.base().size(1)});
  return space;
}

// TIES of whole cores or tensors; as in the authors' code int(n density) + 1 entries of each.
at::Tensor ties(const std::vector<at::Tensor>& values, double density) {
  const int64_t all = values[0].numel();
  const auto kept = static_cast<int64_t>(static_cast<double>(all) * density) + 1;
  return ties_of_parameter(values, std::min(kept, all), "mean");
}

at::Tensor merged_core(const CoreSpace& space, const Options& options) {
  if (options.tsv()) {
    const int64_t share = space.directions / static_cast<int64_t>(space.cores.size());
    std::vector<Svd> parts;
    for (const Svd& core : space.cores) {
      parts.push_back(core.first(share));
    }
    return orthogonalised_sum(parts);
  }
  std::vector<at::Tensor> cores;
  for (const Svd& core : space.cores) {
    cores.push_back(core.product());
  }
  return options.ties() ? ties(cores, options.density) : sum_of(cores);
}

at::Tensor merged(const FusionInput& in, const Slice& slice, const Options& options) {
  if (!is_matrix(*slice.info)) {
    const std::vector<at::Tensor> taus = slice.task_vectors();
    if (options.ties()) {
      return ties(taus, options.density);
    }
    return options.merge == "task_arithmetic" ? sum_of(taus) : mean_of(taus);
  }
  const CoreSpace space = core_space(in, slice, options.rank);
  if (space.directions == 0) {
    return at::zeros_like(slice.base());
  }
  at::Tensor core = merged_core(space, options);
  if (options.isotropic()) {
    core = isotropic(core, space.directions);
  }
  return at::matmul(at::matmul(space.left, core), space.right.t()).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [&in, options](const Slice& slice) { return merged(in, slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "core_space",
     .title = "Core Space",
     .paper = "Panariello et al., NeurIPS 2025, arXiv:2509.17786",
     .formula =
         R"(matrices  tau_i = B_i A_i of an adapter; else tau_i = U_i S_i V_i^T,  `rank` leading triplets,
                                                  B_i = U_i S_i^1/2,   A_i = S_i^1/2 V_i^T
          [B_1 .. B_N] = U_B . .,   [A_1; ..; A_N] = . . V_A^T,   M_i = U_B^T B_i A_i V_A
          tau = U_B merge(M_1 .. M_N) V_A^T
merge     task_arithmetic  sum_i M_i
          ties             keep the density largest |.| of each M_i, elect the sign of their sum, mean of those that agree
          tsv              U_i S_i V_i^T = the k/N leading triplets of M_i,  k = min(rows, columns, sum of ranks)
                           polar([U_1 .. U_N]) diag(S_1 .. S_N) polar([V_1 .. V_N])^T
          iso_c            sum_i M_i = U S V^T,   sum(S) / k U V^T;   ties_iso_c, tsv_iso_c: the same of their result
others    tau = sum_i tau_i (task_arithmetic),   TIES(tau_1, .., tau_N) (ties..),   mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::core_space
