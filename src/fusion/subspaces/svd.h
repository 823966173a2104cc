// Singular value decompositions of task vectors: what the subspace methods share.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "fusion/fusion_input.h"

namespace fusegrid {

// A = u diag(s) v^T, float64 on A's device, largest singular value first. The entry of largest magnitude of
// every right singular vector is positive, so that signs do not depend on the library.
struct Svd {
  at::Tensor u;  // [rows, rank], orthonormal columns
  at::Tensor s;  // [rank], descending, positive
  at::Tensor v;  // [columns, rank], orthonormal columns

  int64_t rank() const { return s.numel(); }
  Svd first(int64_t count) const;  // at most `count` leading triplets
  at::Tensor product() const;      // u diag(s) v^T, [rows, columns]
};

// The significant triplets of a matrix of float32 accuracy: s_k > s_1 max(rows, columns) 2^-23, the usual rank
// tolerance. What is below is rounding of the weights, and its singular vectors are arbitrary. `leading`: at
// most that many triplets are wanted (-1: all).
//
// Taken from the eigenvectors of the Gram matrix of the smaller side, whose rounding makes an error of about
// eps64 (s_1 / s_k)^2 in s_k (relative) and in the orthogonality of the other side's vectors. Where a wanted
// triplet lies below kGramCondition s_1, that is above 2e-8, and a full SVD is taken instead. A matrix with a
// side above 838 has no significant triplets down there.
Svd significant_svd(const at::Tensor& matrix, int64_t leading = -1);
constexpr double kGramCondition = 1e-4;

// The nearest matrix with orthonormal columns in the range of `matrix` [rows, columns], rows >= columns: u v^T
// over the singular values above 1e-5 s_1. The others belong to columns that depend on each other, as those of
// equal experts do, and are left out. float64; zero where the matrix is.
at::Tensor polar_factor(const at::Tensor& matrix);

// The task vector of `expert` in a pass over whole tensors, float64: the product of its factors, of which it has the
// rank, where it is stored as factors (Slice::factors()), else the difference of the weights.
at::Tensor exact_task_vector(const Slice& slice, size_t expert);

// significant_svd of exact_task_vector(). Computed once per base, expert
// and tensor, whatever the methods and their parameters, and kept (vectors in float32) by the statistics cache.
Svd task_vector_svd(const FusionInput& in, const Slice& slice, size_t expert);

// A matrix in a pass over matrices (FusionInput::map_matrices()): the tensors that subspace methods decompose.
bool is_matrix(const TensorInfo& info);
// The weight of a linear layer or of a convolution, judged by its name: embeddings are none.
bool is_linear_weight(const TensorInfo& info);

}  // namespace fusegrid
