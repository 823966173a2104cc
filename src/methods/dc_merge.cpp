// DC-Merge: give every task an equal share of the singular directions of each matrix, write the task vectors in the
// space that all shares cover, and merge their largest entries there.
//
// Source:  Zhang et al., "DC-Merge: Improving Model Merging with Directional Consistency", CVPR 2026, arXiv:2603.06242,
//          and the authors' code: smoothing=none is what it does to fully fine-tuned models, average and linear to
//          adapters. Tensors that are no matrices are averaged there.
// Differs: only significant singular triplets take part (svd.h), and directions that several tasks share are
//          orthogonalised within their common span. Of equal entries the first are kept; where those that are kept
//          cancel, the negative ones stay. The authors' code averages CLIP's `text_projection`.
// Cost:    an SVD per matrix and expert, shared by all subspace methods; two small ones per matrix.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

#include "core/concatenate.h"
#include "fusion/passes/direction.h"
#include "fusion/subspaces/matrix_merges.h"

namespace fusegrid::methods::dc_merge {
namespace {

struct Options {
  std::string smoothing = "none";
  double rho = 5;
  double density = 0.001;
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("smoothing", smoothing, Choices{"none", "average", "linear"},
            "what becomes of a task's singular values: themselves, their mean, or a straight line of the "
            "same sum");
    v.param("rho", rho, Range{1, 1e6}, "linear: the first by the last of them, where theirs is not smaller");
    v.param("density", density, Range{1e-6, 1},
            "fraction of a task's entries in the shared space that are kept");
    v.param("scale", scale, Range{-2, 10}, "multiplier of the merged task vector");
  }
};

at::Tensor smoothed(const at::Tensor& s, const Options& options) {
  if (options.smoothing == "none" || s.numel() == 0) {
    return s;
  }
  at::Tensor shape = at::ones_like(s);
  if (options.smoothing == "linear") {
    const double ratio = std::min(options.rho, (s[0] / s[-1]).item<double>());
    shape = at::linspace(ratio, 1, s.numel(), s.options());
  }
  return shape * (s.sum() / shape.sum());
}

at::Tensor merged(const FusionInput& in, const Slice& slice, const Options& options) {
  if (!is_matrix(*slice.info)) {
    return mean_of(slice.task_vector_views());
  }
  const int64_t all = std::min(slice.base().size(0), slice.base().size(1));
  const int64_t share = all / static_cast<int64_t>(in.num_experts());
  std::vector<Svd> parts;
  std::vector<at::Tensor> u;
  std::vector<at::Tensor> v;
  for (size_t i = 0; i < in.num_experts(); ++i) {
    parts.push_back(task_vector_svd(in, slice, i).first(share));
    u.push_back(parts.back().u);
    v.push_back(parts.back().v);
  }
  const at::Tensor left = polar_factor(concatenate(u, 1));
  const at::Tensor right = polar_factor(concatenate(v, 1));
  if (left.size(1) == 0) {
    return at::zeros_like(slice.base());
  }
  std::vector<at::Tensor> cores;
  for (const Svd& part : parts) {
    cores.push_back(
        at::matmul(at::matmul(left.t(), part.u) * smoothed(part.s, options), at::matmul(part.v.t(), right)));
  }
  const auto kept = static_cast<int64_t>(static_cast<double>(all * all) * options.density);
  const at::Tensor core = ties_of_parameter(cores, std::clamp<int64_t>(kept, 1, cores[0].numel()), "mean");
  at::Tensor own = at::zeros_like(core);  // what lies between the directions of different tasks is left out
  int64_t begin = 0;
  for (const Svd& part : parts) {
    own.narrow(0, begin, part.rank()).narrow(1, begin, part.rank()).fill_(1);
    begin += part.rank();
  }
  return at::matmul(at::matmul(left, core * own), right.t()).to(at::kFloat);
}

Field direction(const FusionInput& in, const Options& options, const std::string& key) {
  return in.matrix_field(key, [&in, options](const Slice& slice) { return merged(in, slice, options); });
}

const RegisterDirection<Options> registered{
    {.name = "dc_merge",
     .title = "DC-Merge",
     .paper = "Zhang et al., CVPR 2026, arXiv:2603.06242",
     .formula =
         R"(matrices  tau_i = U_i S_i V_i^T,   the r/N leading triplets of each,  r = min(rows, columns),  S_i smoothed
          U = polar([U_1 .. U_N]),   V = polar([V_1 .. V_N]),   M_i = U^T U_i S_i V_i^T V
          M = TIES(M_1, .., M_N) of the density r^2 largest entries of each, in the blocks of one task
          tau = U M V^T
others    tau = mean_i tau_i
theta = theta_0 + scale * tau)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .cost = Cost::kMatrix},
    direction,
};

}  // namespace
}  // namespace fusegrid::methods::dc_merge
