#include "fusion/subspaces/svd.h"

#include <algorithm>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/zeros_like.h>

#include "core/role.h"

namespace fusegrid {
namespace {

constexpr double kPolarTolerance = 1e-5;

int64_t count_above(const at::Tensor& s, double fraction) {
  return s.numel() == 0 ? 0 : (s > s[0] * fraction).sum().item<int64_t>();
}

// Columns with their entry of largest magnitude positive; `others` follow.
Svd with_signs(const Svd& svd) {
  if (svd.rank() == 0) {
    return svd;
  }
  const at::Tensor largest = svd.v.abs().argmax(0, true);
  const at::Tensor signs = svd.v.gather(0, largest).sign();
  return {svd.u * signs, svd.s, svd.v * signs};
}

// Of a matrix with rows >= columns.
Svd by_gram(const at::Tensor& tall) {
  const auto [values, vectors] = at::linalg_eigh(at::matmul(tall.t(), tall));
  const at::Tensor s = values.flip(0).clamp_min(0).sqrt();
  return {{}, s, vectors.flip(1)};
}

Svd of_tall(const at::Tensor& tall, int64_t leading) {
  const double tolerance =
      static_cast<double>(tall.size(0)) * static_cast<double>(std::numeric_limits<float>::epsilon());
  Svd svd = by_gram(tall);
  const auto wanted = [&] {
    const int64_t rank = count_above(svd.s, tolerance);
    return leading < 0 ? rank : std::min(rank, leading);
  };
  int64_t count = wanted();
  if (count > 0 && count_above(svd.s, kGramCondition) < count) {
    const auto [u, s, vh] = at::linalg_svd(tall, false);
    svd = {u, s, vh.t()};
    count = wanted();
    return svd.first(count);
  }
  svd = {{}, svd.s.narrow(0, 0, count), svd.v.narrow(1, 0, count)};
  svd.u = at::matmul(tall, svd.v) / svd.s;
  return svd;
}

}  // namespace

Svd Svd::first(int64_t count) const {
  const int64_t kept = std::min(count, rank());
  return {u.narrow(1, 0, kept), s.narrow(0, 0, kept), v.narrow(1, 0, kept)};
}

at::Tensor Svd::product() const {
  return at::matmul(u * s, v.t());
}

Svd significant_svd(const at::Tensor& matrix, int64_t leading) {
  const at::Tensor a = matrix.to(at::kDouble);
  if (a.size(0) >= a.size(1)) {
    return with_signs(of_tall(a, leading));
  }
  const Svd transposed = of_tall(a.t(), leading);
  return with_signs({transposed.v, transposed.s, transposed.u});
}

at::Tensor polar_factor(const at::Tensor& matrix) {
  const Svd svd = significant_svd(matrix);
  const Svd kept = svd.first(count_above(svd.s, kPolarTolerance));
  return at::matmul(kept.u, kept.v.t());
}

at::Tensor exact_task_vector(const Slice& slice, size_t expert) {
  if (const auto factors = slice.factors(expert)) {
    return at::matmul(factors->b.to(at::kDouble), factors->a.to(at::kDouble)) * factors->scale;
  }
  return slice.task_vector(expert).to(at::kDouble);
}

Svd task_vector_svd(const FusionInput& in, const Slice& slice, size_t expert) {
  const auto kept =
      in.expert_statistic(expert, "svd/" + slice.name(), StatisticsCache::Keep::kMemoryAndDisk, [&] {
        const Svd svd = significant_svd(exact_task_vector(slice, expert));
        return Weights{{"u", svd.u.to(at::kFloat).contiguous()},
                       {"s", svd.s.contiguous()},
                       {"v", svd.v.to(at::kFloat).contiguous()}};
      });
  return {kept->at("u").to(at::kDouble), kept->at("s"), kept->at("v").to(at::kDouble)};
}

bool is_matrix(const TensorInfo& info) {
  return info.shape.size() == 2 && info.numel() > 0;
}

bool is_linear_weight(const TensorInfo& info) {
  return info.numel() > 0 && is_layer_weight(info);
}

}  // namespace fusegrid
