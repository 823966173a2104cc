#include <ATen/TensorOperators.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "fusion/fusion_input.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::majority_vote_test {
namespace {

TEST(MajorityVote, chooses_the_class_of_most_experts_and_of_equals_the_more_probable_one) {
  const TestZoo zoo = random_zoo(3, 1.0);
  const at::Tensor answer = zoo.logits(zoo.fuse("majority_vote"), "task1").exp();
  int64_t decided = 0;
  int64_t tied = 0;
  for (int64_t n = 0; n < answer.size(0); ++n) {
    std::vector<double> score(static_cast<size_t>(answer.size(1)), 0);
    std::vector<int> votes(score.size(), 0);
    for (const Weights& expert : zoo.experts) {
      const at::Tensor p = at::softmax(zoo.logits_of(expert, "task1")[n].to(at::kDouble), 0);
      ++votes[static_cast<size_t>(p.argmax().item<int64_t>())];
      for (size_t c = 0; c < score.size(); ++c) {
        score[c] += p[static_cast<int64_t>(c)].item<double>() / 3;
      }
    }
    const int most = *std::max_element(votes.begin(), votes.end());
    (most > 1 ? decided : tied) += 1;
    size_t best = score.size();
    for (size_t c = 0; c < score.size(); ++c) {
      if (votes[c] == most && (best == score.size() || score[c] > score[best])) {
        best = c;
      }
    }
    EXPECT_EQ(answer[n].argmax().item<int64_t>(), static_cast<int64_t>(best)) << n;
    at::Tensor of_majority = at::zeros({answer.size(1)}, at::kDouble);
    for (const Weights& expert : zoo.experts) {
      const at::Tensor p = at::softmax(zoo.logits_of(expert, "task1")[n].to(at::kDouble), 0);
      of_majority += p.argmax().item<int64_t>() == static_cast<int64_t>(best) ? p / most : at::zeros_like(p);
    }
    expect_close(answer[n], of_majority, 1e-6);
  }
  EXPECT_GT(decided, 0);
  EXPECT_GT(tied, 0);
}

}  // namespace
}  // namespace fusegrid::majority_vote_test
