// Zoos of one linear weight whose task vectors are known.
#pragma once

#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "support/test_zoo.h"

namespace fusegrid {

inline at::Tensor random_matrix(uint64_t key, int64_t rows, int64_t columns) {
  return normal(key, 0, 0, rows * columns).view({rows, columns});
}

// The zoo's only tensor is "fc.weight": zero in the base, taus[i] in expert i.
inline TestZoo matrix_zoo(const std::vector<at::Tensor>& taus) {
  TestZoo zoo = random_zoo(taus.size());
  zoo.base = {{"fc.weight", at::zeros_like(taus[0])}};
  for (size_t i = 0; i < taus.size(); ++i) {
    zoo.experts[i] = {{"fc.weight", taus[i]}};
  }
  return zoo;
}

// `count` matrices [rows, columns] of rank 2, singular values 3 and 1, whose row and column spaces are orthogonal
// to each other.
inline std::vector<at::Tensor> orthogonal_taus(int64_t count, int64_t rows, int64_t columns) {
  const at::Tensor u = std::get<0>(at::linalg_qr(random_matrix(1, rows, 2 * count)));
  const at::Tensor v = std::get<0>(at::linalg_qr(random_matrix(2, columns, 2 * count)));
  const at::Tensor s = at::tensor({3.0F, 1.0F});
  std::vector<at::Tensor> taus;
  for (int64_t i = 0; i < count; ++i) {
    taus.push_back(at::matmul(u.narrow(1, 2 * i, 2) * s, v.narrow(1, 2 * i, 2).t()));
  }
  return taus;
}

// An expert of "fc.weight" of which the factors are known: tau = scale b a.
struct LowRankExpert {
  at::Tensor b, a;  // float32
  double scale = 1;
  at::Tensor tau() const { return at::matmul(b.to(at::kDouble), a.to(at::kDouble)) * scale; }
};
inline std::vector<LowRankExpert> low_rank_experts(int64_t count, int64_t rank, int64_t rows,
                                                   int64_t columns) {
  std::vector<LowRankExpert> experts;
  for (int64_t i = 0; i < count; ++i) {
    const auto key = static_cast<uint64_t>(50 + 2 * i);
    experts.push_back({random_matrix(key, rows, rank), random_matrix(key + 1, rank, columns), 2});
  }
  return experts;
}
// Their zoo, on a base of random weights: as adapters, and as the dense models that these make.
inline TestZoo low_rank_zoo(const std::vector<LowRankExpert>& experts, bool as_adapters) {
  TestZoo zoo = random_zoo(experts.size());
  const at::Tensor base = random_matrix(3, experts[0].b.size(0), experts[0].a.size(1));
  zoo.base = {{"fc.weight", base}};
  for (size_t i = 0; i < experts.size(); ++i) {
    zoo.experts[i] = {{"fc.weight", base + experts[i].tau().to(at::kFloat)}};
    if (as_adapters) {
      zoo.factors.push_back({{"fc.weight", {experts[i].b, experts[i].a, experts[i].scale}}});
    }
  }
  return zoo;
}
// What a call moves the base of such a zoo by.
inline at::Tensor low_rank_merge(const TestZoo& zoo, const std::string& call) {
  return zoo.fuse(call).weights.at("fc.weight") - zoo.base.at("fc.weight");
}

// Whatever subspace methods the zoo's cache has served.
inline void expect_one_decomposition_per_expert_and_matrix(const TestZoo& zoo) {
  size_t decompositions = 0;
  for (const auto& [key, times] : zoo.cache->computed()) {
    EXPECT_EQ(times, 1) << key;
    decompositions += key.find("/svd/") == std::string::npos ? 0 : 1;
  }
  size_t matrices = 0;
  for (const auto& [name, tensor] : zoo.base) {
    matrices += tensor.is_floating_point() && tensor.dim() == 2 ? 1 : 0;
  }
  EXPECT_EQ(decompositions, zoo.experts.size() * matrices);
}

}  // namespace fusegrid
