#include "fusion/alignment/assignment.h"

#include <algorithm>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "fusion/alignment/permutation.h"
#include "support/golden.h"

namespace fusegrid::assignment_test {
namespace {

double sum_of(const at::Tensor& scores, const Permutation& permutation) {
  double sum = 0;
  for (size_t i = 0; i < permutation.size(); ++i) {
    sum += scores[static_cast<int64_t>(i)][permutation[i]].item<double>();
  }
  return sum;
}

double best_by_trying_all(const at::Tensor& scores) {
  Permutation tried = unmoved(scores.size(0));
  double best = -std::numeric_limits<double>::infinity();
  do {
    best = std::max(best, sum_of(scores, tried));
  } while (std::next_permutation(tried.begin(), tried.end()));
  return best;
}

bool is_a_permutation(Permutation permutation) {
  std::sort(permutation.begin(), permutation.end());
  return permutation == unmoved(static_cast<int64_t>(permutation.size()));
}

TEST(Assignment, is_the_best_of_all_permutations) {
  for (int64_t n = 1; n <= 7; ++n) {
    for (uint64_t stream = 0; stream < 12; ++stream) {
      at::Tensor scores = normal(7, stream, 0, n * n).view({n, n}).to(at::kDouble);
      if (stream % 3 == 1) {
        scores = (scores * 2).round();  // many equal sums
      } else if (stream % 3 == 2) {
        scores = scores.abs() * 1e6;
      }
      const Permutation found = best_assignment(scores);
      ASSERT_TRUE(is_a_permutation(found));
      EXPECT_NEAR(sum_of(scores, found), best_by_trying_all(scores),
                  1e-8 * scores.abs().max().item<double>());
    }
  }
  const at::Tensor eight = normal(8, 0, 0, 64).view({8, 8}).to(at::kDouble);
  EXPECT_NEAR(sum_of(eight, best_assignment(eight)), best_by_trying_all(eight), 1e-9);
}

TEST(Assignment, equals_scipys) {
  const Golden golden = read_golden("alignment__perceptrons");
  const at::Tensor& expected = golden.tensors.at("assignment");
  const Permutation found = best_assignment(golden.tensors.at("scores"));
  const auto* entries = expected.const_data_ptr<int64_t>();
  EXPECT_EQ(found, Permutation(entries, entries + expected.numel()));
}

TEST(Assignment, of_equal_scores_leaves_everything_in_place) {
  EXPECT_EQ(best_assignment(at::zeros({5, 5})), unmoved(5));
  EXPECT_EQ(best_assignment(at::full({4, 4}, -3.5)), unmoved(4));
  // a live pair that must change places, dead units that need not
  at::Tensor scores = at::zeros({5, 5}, at::kDouble);
  scores[1][3] = 1;
  scores[3][1] = 1;
  EXPECT_EQ(best_assignment(scores), (Permutation{0, 3, 2, 1, 4}));
}

// Potentials that certify it: no cycle of exchanges gains, here every exchange of two and of three.
TEST(Assignment, of_many_units_cannot_be_improved_by_exchanges) {
  constexpr int64_t kUnits = 60;
  const at::Tensor scores = normal(9, 0, 0, kUnits * kUnits).view({kUnits, kUnits}).to(at::kDouble);
  const Permutation found = best_assignment(scores);
  ASSERT_TRUE(is_a_permutation(found));
  const auto* entries = scores.const_data_ptr<double>();
  const auto at_place = [&](int64_t i, int64_t j) {
    return entries[i * kUnits + found[static_cast<size_t>(j)]];
  };
  for (int64_t i = 0; i < kUnits; ++i) {
    for (int64_t j = 0; j < kUnits; ++j) {
      for (int64_t k = 0; k < kUnits; ++k) {
        if (i != j && j != k && i != k) {
          EXPECT_LE(at_place(i, j) + at_place(j, k) + at_place(k, i),
                    at_place(i, i) + at_place(j, j) + at_place(k, k) + 1e-7);
        }
      }
    }
  }
}

TEST(Assignment, of_no_units_is_empty) {
  EXPECT_TRUE(best_assignment(at::zeros({0, 0})).empty());
}

TEST(Assignment, refuses_scores_that_are_no_numbers) {
  at::Tensor scores = at::eye(3);
  scores[1][2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(best_assignment(scores), DataError);
  scores[1][2] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(best_assignment(scores), DataError);
}

}  // namespace
}  // namespace fusegrid::assignment_test
