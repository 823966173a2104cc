#include "fusion/subspaces/task_factors.h"

#include <cmath>

#include <ATen/TensorOperators.h>

namespace fusegrid {

TaskFactors factors_of(const FusionInput& in, const Slice& slice, size_t expert, int64_t rank) {
  const auto own = slice.factors(expert);
  if (own && (rank == 0 || own->b.size(1) <= rank)) {
    const double root = std::sqrt(std::abs(own->scale));
    return {own->b.to(at::kDouble) * std::copysign(root, own->scale), own->a.t().to(at::kDouble) * root};
  }
  const Svd all = task_vector_svd(in, slice, expert);
  const Svd svd = rank == 0 ? all : all.first(rank);
  return {svd.u * svd.s.sqrt(), svd.v * svd.s.sqrt()};
}

}  // namespace fusegrid
