#include "fusion/loops/entry_loops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/add.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "core/philox.h"
#include "fusion/passes/sign_election.h"

namespace fusegrid::entry_loops_test {
namespace {

constexpr int64_t kCount = 3 * EntryLoops::kChunk + 21;  // not a multiple of the lanes
const std::vector<float> kNumbers{0.5F, -1.25F, 0.75F, 2.5F, 0.3F};

struct Case {
  std::string name;
  std::vector<SliceVector> vectors;
};

// Every way in which loops read vectors. Coarse numbers beside dense ones: sums of zero and equal magnitudes.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const at::ScalarType stored : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const auto numbers = [&](uint64_t key) {
      const at::Tensor dense = normal(key, 0, 0, kCount);
      return at::where(dense.abs() < 1, (dense * 2).round(), dense).to(stored);
    };
    const std::string dtype = c10::toString(stored);
    Case plain{dtype, {}};
    Case subtracted{dtype + " less a base", {}};
    Case dropped{dtype + " with drops", {}};
    Case mixed{dtype + " and others", {}};
    const at::Tensor base = numbers(9);
    for (uint64_t i = 0; i < kNumbers.size(); ++i) {
      plain.vectors.emplace_back(numbers(i));
      subtracted.vectors.emplace_back(numbers(i), base);
      dropped.vectors.emplace_back(numbers(i), base);
      dropped.vectors.back().drop = {i, 5, 0.4, 1.5};
      mixed.vectors.emplace_back(i % 2 == 0 ? numbers(i) : numbers(i).to(at::kFloat),
                                 i == 3 ? base : at::Tensor());
    }
    all.insert(all.end(), {plain, subtracted, dropped, mixed});
  }
  return all;
}

class EntryRules : public testing::TestWithParam<Case> {
 protected:
  const std::vector<SliceVector>& vectors() const { return GetParam().vectors; }
  const std::vector<at::Tensor> entries = tensors_of(GetParam().vectors);
  at::Tensor none() const { return at::zeros({kCount}, at::TensorOptions(at::kFloat)); }
};

TEST_P(EntryRules, add_in_order) {
  at::Tensor sum = entries[0];
  at::Tensor weighted = none();
  at::Tensor products = entries[0] * kNumbers[0];
  for (size_t i = 0; i < entries.size(); ++i) {
    sum = i == 0 ? sum : sum + entries[i];
    weighted = at::add(weighted, entries[i], kNumbers[i]);
    products = i == 0 ? products : products + entries[i] * kNumbers[i];
  }
  EXPECT_TRUE(apply_rule(vectors(), {}, Sum{}).equal(sum));
  EXPECT_TRUE(apply_rule(vectors(), kNumbers, WeightedSum{}).equal(weighted));
  EXPECT_TRUE(apply_rule(vectors(), kNumbers, SumOfProducts{}).equal(products));
}

TEST_P(EntryRules, take_the_last_of_the_largest) {
  at::Tensor largest = entries[0];
  for (const at::Tensor& other : entries) {
    largest = at::where(other.abs() >= largest.abs(), other, largest);
  }
  EXPECT_TRUE(apply_rule(vectors(), {}, Largest{}).equal(largest));
}

TEST_P(EntryRules, merge_what_has_the_sign_of_the_trimmed_sum) {
  const std::vector<float> thresholds{0.5F, 1.25F, 0, 1, 0.75F};
  const auto kept = trimmed(entries, thresholds);
  at::Tensor sum = none();
  for (const at::Tensor& vector : kept) {
    sum = sum + vector;
  }
  EXPECT_TRUE(apply_rule(vectors(), thresholds, TrimmedSum{}).equal(sum));
  ASSERT_GT((sum == 0).sum().item<int64_t>(), 0);
  for (const bool majority : {false, true}) {
    const at::Tensor sign = (majority ? sum >= 0 : sum > 0).to(at::kFloat) * 2 - 1;
    at::Tensor merged = none();
    at::Tensor count = none();
    at::Tensor largest = none();
    for (const at::Tensor& vector : kept) {
      const at::Tensor agreeing = (vector * sign).clamp_min(0);
      merged = merged + agreeing;
      count = count + (agreeing > 0);
      largest = at::maximum(largest, agreeing);
    }
    const auto with = [&](const auto& rule) { return apply_rule(vectors(), thresholds, rule); };
    EXPECT_TRUE(with(MergeAgreeing<AgreeingMerge::kSum>{majority}).equal(merged * sign));
    EXPECT_TRUE(
        with(MergeAgreeing<AgreeingMerge::kMean>{majority}).equal(merged / count.clamp_min(1) * sign));
    EXPECT_TRUE(with(MergeAgreeing<AgreeingMerge::kMax>{majority}).equal(largest * sign));
  }
}

TEST_P(EntryRules, merge_what_has_the_sign_of_the_weighted_sum) {
  at::Tensor sum = none();
  for (size_t i = 0; i < entries.size(); ++i) {
    sum = sum + entries[i] * kNumbers[i];
  }
  at::Tensor merged = none();
  at::Tensor divisor = none();
  for (size_t i = 0; i < entries.size(); ++i) {
    const at::Tensor weighted = entries[i] * kNumbers[i];
    const at::Tensor agrees = at::where(sum >= 0, weighted > 0, weighted < 0);
    merged = merged + weighted * agrees;
    divisor = divisor + agrees * kNumbers[i];
  }
  EXPECT_TRUE(apply_rule(vectors(), kNumbers, MergeAgreeingWeighted<false>{}).equal(merged));
  EXPECT_TRUE(apply_rule(vectors(), kNumbers, MergeAgreeingWeighted<true>{})
                  .equal(merged / divisor.masked_fill(divisor == 0, 1)));
}

TEST_P(EntryRules, average_what_changes) {
  at::Tensor sum = none();
  at::Tensor count = none();
  for (const at::Tensor& vector : entries) {
    sum = sum + vector * (vector.abs() > 0.6);
    count = count + (vector.abs() > 0.6);
  }
  at::Tensor mean = sum / count.clamp_min(1);
  for (size_t i = 0; i < entries.size(); ++i) {
    mean = at::add(mean, entries[i] * (entries[i].abs() > 0.6) * (count == 1), kNumbers[i]);
  }
  ASSERT_GT((count == 1).sum().item<int64_t>(), 0);
  EXPECT_TRUE(apply_rule(vectors(), kNumbers, MeanOfChanges{0.6F}).equal(mean));
}

TEST_P(EntryRules, keep_the_part_that_agrees) {
  const at::Tensor& unified = entries[1];
  const at::Tensor& base = entries[2];
  const auto parts = apply_rule_to_each(vectors(), {unified}, {}, AgreeingPart{});
  const auto models = apply_rule_to_each(vectors(), {unified, base}, kNumbers, AddAgreeingPart{});
  ASSERT_EQ(models.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const at::Tensor part = unified * at::where(unified > 0, entries[i] > 0, entries[i] < 0);
    EXPECT_TRUE(parts[i].equal(part)) << i;
    EXPECT_TRUE(models[i].equal(at::add(base, part, kNumbers[i]))) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(vectors, EntryRules, testing::ValuesIn(cases()), [](const auto& tested) {
  std::string name = tested.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
});

// So many vectors that they are copied first, and so many that there is a part for a line only.
TEST(EntryLoops, add_many_vectors_as_few) {
  for (const size_t count : {11, 64, 600}) {
    std::vector<SliceVector> vectors;
    at::Tensor sum;
    for (size_t i = 0; i < count; ++i) {
      vectors.emplace_back(normal(i, 0, 0, 2'077));
      sum = i == 0 ? vectors[0].values : sum + vectors[i].values;
    }
    EXPECT_TRUE(apply_rule(vectors, {}, Sum{}).equal(sum)) << count;
  }
}

TEST(EntryLoops, leave_float64_and_graphs_of_gradients_to_operations) {
  const at::Tensor values = normal(1, 0, 0, kCount);
  EXPECT_TRUE(rules_fit({SliceVector(values)}));
  EXPECT_FALSE(rules_fit({SliceVector(values), SliceVector(values.to(at::kDouble))}));
  EXPECT_FALSE(rules_fit({SliceVector(values, values.clone().requires_grad_())}));
}

}  // namespace
}  // namespace fusegrid::entry_loops_test
