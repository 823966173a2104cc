// CART: leading singular triplets of what sets each expert apart from their average, added to it.
//
// Source:  Choi, Kim, Lee & Hong, "Revisiting Weight Averaging for Model Merging", 2024, arXiv:2412.12153; its default
//          rank, 8 % of the full one.
// Differs: singular values that are rounding (svd.h) take no part. Tensors that are no matrices are averaged.
// Cost:    N SVDs per matrix, which a sweep of scales shares.

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/text.h"
#include "fusion/subspaces/svd.h"

namespace fusegrid::methods::cart {
namespace {

struct Options {
  double rank = 0.08;
  double scale = 1.0;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("rank", rank, Range{0, 1}, "fraction of the singular triplets of each expert that are kept");
    v.param("scale", scale, Range{-2, 10}, "factor of the sum that is added to the average");
  }
};

// The sum over experts of the leading triplets of theta_i - average.
at::Tensor offsets(const Slice& slice, double rank) {
  at::Tensor sum = at::zeros(slice.expert(0).sizes(), slice.expert(0).options().dtype(at::kDouble));
  if (is_matrix(*slice.info)) {
    at::Tensor average = at::zeros_like(sum);
    for (const at::Tensor& expert : slice.experts()) {
      average.add_(expert.to(at::kDouble), 1 / static_cast<double>(slice.num_experts()));
    }
    const int64_t all = std::min(sum.size(0), sum.size(1));
    const auto kept = static_cast<int64_t>(static_cast<double>(all) * rank);
    for (const at::Tensor& expert : slice.experts()) {
      sum.add_(significant_svd(expert.to(at::kDouble) - average, kept).product());
    }
  }
  return sum.to(at::kFloat);
}

FusedModel fuse(const FusionInput& in, const Options& options) {
  const Field sum = in.matrix_field("cart{rank=" + number_text(options.rank) + "}",
                                    [&](const Slice& slice) { return offsets(slice, options.rank); });
  return one_model(in.map_tensors(
      [&](const Slice& slice) { return at::add(mean_of(slice.expert_views()), slice[sum], options.scale); }));
}

const RegisterMethod<Options> registered{
    {.name = "cart",
     .title = "CART",
     .paper = "Choi et al., 2024, arXiv:2412.12153",
     .formula =
         R"(matrices  theta = A + scale * sum_i SVD_k(theta_i - A),   A = mean_i theta_i,   k = rank * min(rows, columns)
others    theta = A)",
     .family = Family::kSubspace,
     .grain = Grain::kTensors,
     .cost = Cost::kMatrix},
    fuse,
};

}  // namespace
}  // namespace fusegrid::methods::cart
