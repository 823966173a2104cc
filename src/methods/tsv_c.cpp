// TSV-C: each task's model, its task vector cut to the leading singular triplets of every matrix.
//
// Source:  Gargiulo et al., "Task Singular Vectors: Reducing Task Interference in Model Merging", CVPR 2025,
//          arXiv:2412.00081.
// Differs: nothing; triplets that are not significant (see svd.h) are not stored.
// Cost:    the SVDs that all subspace methods share. Stored: base, the triplets, and all tensors that are no
//          matrices once per task.

#include <algorithm>
#include <optional>

#include <ATen/TensorOperators.h>

#include "fusion/kernel_matrices.h"
#include "fusion/passes/direction.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::tsv_c {
namespace {

struct Options {
  double fraction = 0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("fraction", fraction, Range{0, 1}, "of the triplets that are kept per task; 0: 1 / experts");
  }
};

int64_t kept_rank(const TensorInfo& info, const FusionInput& in, const Options& options) {
  const int64_t full = std::min(info.shape[0], info.shape[1]);
  return options.fraction == 0 ? full / static_cast<int64_t>(in.num_experts())
                               : static_cast<int64_t>(static_cast<double>(full) * options.fraction);
}

struct CutModel {
  at::Tensor weight;
  double stored = 0;  // numbers of its task vector
};

CutModel cut(const FusionInput& in, const Slice& slice, size_t expert, const Options& options) {
  if (!is_matrix(*slice.info)) {
    return {slice.expert(expert), static_cast<double>(slice.count)};
  }
  const Svd svd = task_vector_svd(in, slice, expert).first(kept_rank(*slice.info, in, options));
  return {slice.base() + svd.product().to(at::kFloat),
          static_cast<double>(svd.u.numel() + svd.s.numel() + svd.v.numel())};
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  // Noted while the models are made, so that a streamed merge, which keeps no decompositions, makes each once.
  std::vector<std::optional<double>> stored(in.tensors().size());
  const auto all_cut = with_kernel_matrices([&](const Slice& slice) {
    std::vector<at::Tensor> weights;
    stored[slice.tensor_index] = 0;
    for (size_t i = 0; i < slice.num_experts(); ++i) {
      CutModel model = cut(in, slice, i, options);
      *stored[slice.tensor_index] += model.stored;
      weights.push_back(std::move(model.weight));
    }
    return weights;
  });
  auto models = in.map_tensors(in.num_experts(), all_cut);
  auto numbers = static_cast<double>(in.num_elements());
  const auto of_tensors = in.reduce_tensors(1, [&](const Slice& slice, double* out) {
    if (!stored[slice.tensor_index]) {
      all_cut(slice);  // its file was complete already when an interrupted merge went on
    }
    out[0] = *stored[slice.tensor_index];
  });
  for (const auto& of_tensor : of_tensors) {
    numbers += of_tensor[0];
  }
  return models_of_tasks(in, std::move(models), numbers);
}

const RegisterMethod<Options> registered{
    {.name = "tsv_c",
     .title = "TSV-C",
     .paper = "Gargiulo et al., CVPR 2025, arXiv:2412.00081",
     .formula =
         R"(matrices  tau_i = U_i S_i V_i^T,   theta^(i) = theta_0 + the leading fraction of its triplets
others    theta^(i) = theta_i)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .needs = {Need::kPretrained},
     .yields = Yields::kModelPerTask,
     .needs_task_identity = true,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::tsv_c
