#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "fusion/subspaces/svd.h"
#include "methods/planted.h"
#include "support/golden.h"

namespace fusegrid::core_space_test {
namespace {

at::Tensor leading_part(const at::Tensor& matrix) {
  return significant_svd(matrix).first(1).product();
}

TEST(CoreSpace, equals_the_definition_in_float64) {
  const TestZoo zoo = golden_zoo();
  const auto golden = [](const std::string& file) { return read_golden("core_space__" + file).tensors; };
  const auto call = [&](const std::string& options) {
    return zoo.fuse("core_space{scale=0.7," + options + "}").weights;
  };
  expect_close(call("merge=task_arithmetic,rank=2"), golden("task_arithmetic_rank2"), 3e-7);
  expect_close(call("merge=ties,density=0.2"), golden("ties_rank0"), 3e-7);
  expect_close(call("merge=ties,density=0.4,rank=1"), golden("ties_rank1"), 3e-7);
  expect_close(call("merge=tsv,rank=2"), golden("tsv_rank2"), 3e-7);
  expect_close(call("merge=iso_c,rank=1"), golden("iso_c_rank1"), 3e-7);
  expect_close(call("merge=ties_iso_c,density=0.4,rank=1"), golden("ties_iso_c_rank1"), 3e-7);
  expect_close(call("merge=tsv_iso_c"), golden("tsv_iso_c_rank0"), 3e-7);
}

// The paper's theorem: projecting into the core space and back loses nothing.
TEST(CoreSpace, of_all_triplets_is_lossless) {
  const TestZoo zoo = random_zoo(4);
  expect_close(zoo.fuse("core_space{merge=task_arithmetic,scale=0.3}").weights,
               zoo.fuse("task_arithmetic{scale=0.3}").weights, 3e-7);
}

TEST(CoreSpace, of_all_triplets_changes_nothing_for_what_does_not_depend_on_the_basis) {
  const TestZoo zoo = random_zoo(3);
  expect_close(zoo.fuse("core_space{merge=tsv}").weights, zoo.fuse("tsv_m").weights, 3e-7);
  expect_close(zoo.fuse("core_space{merge=iso_c}").weights, zoo.fuse("iso_c").weights, 3e-7);
}

// Fewer directions than the matrix has: Iso-C's mean is over those of the core, so it is larger than the plain one.
TEST(CoreSpace, has_iso_c_share_the_spectrum_among_the_directions_of_the_core) {
  const TestZoo zoo = matrix_zoo(orthogonal_taus(2, 7, 9));  // 2 directions each, of 7
  expect_close(zoo.fuse("core_space{merge=iso_c,scale=1}").weights.at("fc.weight"),
               zoo.fuse("iso_c{scale=1}").weights.at("fc.weight") * (7.0 / 4), 1e-6);
}

TEST(CoreSpace, of_one_expert_is_that_expert) {
  const TestZoo zoo = random_zoo(1);
  for (const std::string merge : {"task_arithmetic", "tsv"}) {
    expect_close(zoo.fuse("core_space{merge=" + merge + "}").weights, zoo.experts[0], 3e-7);
  }
  expect_close(zoo.fuse("core_space{merge=ties,density=1}").weights, zoo.experts[0], 3e-7);
}

TEST(CoreSpace, of_equal_experts_is_that_expert_where_cores_are_averaged) {
  TestZoo zoo = random_zoo(3);
  zoo.experts = {zoo.experts[0], zoo.experts[0], zoo.experts[0]};
  expect_close(zoo.fuse("core_space{merge=ties,density=1}").weights, zoo.experts[0], 3e-7);
}

// Experts that share no direction have cores that share no entry: TIES adds them, which it does not entry by entry. It
// must keep no more than their entries, since a mean also counts those that are rounding.
TEST(CoreSpace, keeps_experts_of_orthogonal_directions_apart) {
  const auto taus = orthogonal_taus(3, 6, 8);
  // equal singular values of different experts leave the bases open within their span: set them apart
  const TestZoo zoo = matrix_zoo({taus[0], taus[1] * 1.7, taus[2] * 0.6});
  const at::Tensor sum = taus[0] + taus[1] * 1.7 + taus[2] * 0.6;
  for (const std::string merge : {"task_arithmetic", "ties", "tsv"}) {
    expect_close(zoo.fuse("core_space{density=0.03,merge=" + merge + "}").weights.at("fc.weight"), sum, 3e-6);
  }
  const at::Tensor entrywise = zoo.fuse("ties{scale=1,density=1,merge=mean}").weights.at("fc.weight");
  EXPECT_GT((entrywise - sum).abs().max().item<double>(), 0.1);
}

// A core is diagonal with the two singular values of its expert; of its 36 entries int(0.72) + 1 is the larger one (and
// the int(1.08) + 1 of the test before are both).
TEST(CoreSpace, trims_whole_directions_of_experts_that_share_none) {
  const auto taus = orthogonal_taus(3, 6, 8);
  const TestZoo zoo = matrix_zoo({taus[0], taus[1] * 1.7, taus[2] * 0.6});
  const at::Tensor one_each = zoo.fuse("core_space{merge=ties,density=0.02}").weights.at("fc.weight");
  expect_close(one_each, leading_part(taus[0]) + leading_part(taus[1]) * 1.7 + leading_part(taus[2]) * 0.6,
               3e-6);
}

TEST(CoreSpace, works_on_the_leading_triplets) {
  const auto taus = orthogonal_taus(2, 6, 8);
  const at::Tensor leading = leading_part(taus[0]) + leading_part(taus[1]);
  for (const std::string merge : {"task_arithmetic", "tsv"}) {
    expect_close(matrix_zoo(taus).fuse("core_space{rank=1,merge=" + merge + "}").weights.at("fc.weight"),
                 leading, 3e-6);
  }
}

TEST(CoreSpace, of_ranks_beyond_the_matrix_is_that_of_all_triplets) {
  const TestZoo zoo = random_zoo(2);
  EXPECT_EQ(digest(zoo.fuse("core_space{rank=1000}").weights), digest(zoo.fuse("core_space").weights));
}

// What does not depend on the basis is the same for any factors of the same task vectors: for those of adapters, and
// for the balanced ones of dense models.
TEST(CoreSpace, of_adapters_is_that_of_the_dense_models_up_to_rounding) {
  const auto experts = low_rank_experts(3, 2, 12, 16);
  for (const std::string merge : {"task_arithmetic", "tsv", "iso_c", "tsv_iso_c"}) {
    for (const std::string rank : {"0", "2", "5"}) {
      const std::string call = "core_space{merge=" + merge + ",rank=" + rank + "}";
      expect_close(low_rank_merge(low_rank_zoo(experts, true), call),
                   low_rank_merge(low_rank_zoo(experts, false), call), 1e-5);
    }
  }
}

// The authors' algorithm in their own steps: TIES of U_B^T B_i A_i V_A, in the bases of the stacked factors.
TEST(CoreSpace, of_adapters_is_the_authors_algorithm_on_their_factors) {
  const auto experts = low_rank_experts(3, 2, 12, 16);
  std::vector<at::Tensor> b, a;
  for (const LowRankExpert& expert : experts) {
    b.push_back(expert.b.to(at::kDouble));
    a.push_back(expert.a.to(at::kDouble));
  }
  const at::Tensor left = std::get<0>(at::linalg_svd(concatenate(b, 1), false));
  const at::Tensor right = std::get<2>(at::linalg_svd(concatenate(a, 0), false)).t();
  const auto in_core = [&](const at::Tensor& tau) { return left.t().matmul(tau).matmul(right); };
  std::vector<at::Tensor> cores;
  for (const LowRankExpert& expert : experts) {
    cores.push_back(in_core(expert.tau()).unsqueeze(0));
  }
  const at::Tensor stacked = concatenate(cores);
  const at::Tensor sign = at::where(stacked.sum(0) > 0, 1.0, -1.0);
  const at::Tensor agrees = stacked * sign > 0;
  const at::Tensor mean = (stacked * agrees).sum(0) / agrees.sum(0).clamp_min(1);
  const at::Tensor expected = left.matmul(mean).matmul(right.t()).to(at::kFloat);
  const std::string call = "core_space{merge=ties,density=1}";
  expect_close(low_rank_merge(low_rank_zoo(experts, true), call), expected, 1e-5);
  EXPECT_GT((low_rank_merge(low_rank_zoo(experts, false), call) - expected).abs().max().item<double>(), 0.01)
      << "balanced factors have other bases";
}

// Fewer triplets than an adapter has: those of the product of its factors, which are not its own leading columns.
TEST(CoreSpace, of_a_lower_rank_takes_the_leading_triplets_of_adapters) {
  const auto experts = low_rank_experts(2, 3, 12, 16);
  at::Tensor leading = at::zeros({12, 16}, at::kDouble);
  for (const LowRankExpert& expert : experts) {
    leading += leading_part(expert.tau());
  }
  expect_close(low_rank_merge(low_rank_zoo(experts, true), "core_space{merge=task_arithmetic,rank=1}"),
               leading.to(at::kFloat), 1e-5);
}

// Every rank and rule goes on from one decomposition per expert and matrix, which is the one of TSV-M.
TEST(CoreSpace, shares_decompositions_with_its_relatives) {
  const TestZoo zoo = random_zoo(2);
  for (const std::string call : {"tsv_m", "core_space", "core_space{rank=2}", "core_space{merge=tsv,rank=3}",
                                 "core_space{merge=iso_c,scale=0.5}"}) {
    zoo.fuse(call);
  }
  expect_one_decomposition_per_expert_and_matrix(zoo);
}

}  // namespace
}  // namespace fusegrid::core_space_test
