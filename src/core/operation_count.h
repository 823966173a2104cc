// How much arithmetic something does, whatever machine it runs on: what merges and their statistics cost.
#pragma once

#include <cstdint>

#include <ATen/record_function.h>

namespace fusegrid {

// Counts while it lives, in all threads of the process:
//   - matrix products, convolutions and attention as 2 operations for each product of two numbers;
//   - decompositions as in Golub and Van Loan, "Matrix Computations", 4th edition, of n x n, or m x n with m >= n:
//     Cholesky n^3 / 3, LU 2 n^3 / 3, QR with both factors 4 n^2 (m - n / 3), eigenvectors 9 n^3, eigenvalues
//     4 n^3 / 3, SVD 14 m n^2 + 8 n^3; a triangular system n^2 for each column;
//   - passes over entries of models as 1 operation for each number of a model that they read (count_operations()).
// All else (activations, norms, optimisers) is not counted. LibTorch tells of its operations, forward and backward, so
// what its kernels do inside is counted as what they were asked for.
class OperationCount {
 public:
  OperationCount();
  ~OperationCount();
  OperationCount(const OperationCount&) = delete;
  OperationCount& operator=(const OperationCount&) = delete;

  int64_t operations() const;  // since it was made

 private:
  at::CallbackHandle callback_;
  int64_t before_;
};

void count_operations(int64_t operations);

}  // namespace fusegrid
