#include "fusion/alignment/activations.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/corrcoef.h>
#include <ATen/ops/eye.h>
#include <gtest/gtest.h>

#include "core/concatenate.h"
#include "core/errors.h"
#include "support/golden.h"
#include "support/test_zoo.h"

namespace fusegrid::activations_test {
namespace {

void with_inputs(const TestZoo& zoo, const std::function<void(const FusionInput&)>& visit) {
  MethodCard card;
  card.name = "a_test";
  card.grain = Grain::kWholeModel;
  card.needs = {Need::kTrainInputs};
  zoo.with_input(card, visit);
}

// All activations of a group, [rows, units], of one expert on training inputs of all tasks.
at::Tensor rows_of(const TestZoo& zoo, size_t expert, const std::string& group, int64_t share) {
  std::vector<at::Tensor> rows;
  for (const std::string& task : zoo.tasks) {
    Pass pass;
    pass.seen = [&](const std::string& seen, const at::Tensor& x) {
      if (seen == group) {
        rows.push_back(x.reshape({-1, x.size(-1)}).to(at::kDouble));
      }
    };
    zoo.network->features(zoo.experts[expert],
                          zoo.network->ready(zoo.data.examples(task, "train", share).inputs), pass);
  }
  return concatenate(rows);
}

TEST(UnitActivations, are_correlations_and_distances_over_the_inputs_of_all_tasks) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(2, 1, family);
    with_inputs(zoo, [&](const FusionInput& in) {
      const auto found = unit_activations(in, 20);
      ASSERT_EQ(found.size(), 2U);
      for (const auto& [group, of_group] : found) {
        const at::Tensor both = concatenate({rows_of(zoo, 0, group, 10), rows_of(zoo, 1, group, 10)}, 1);
        const at::Tensor varies = (both.std(0) > 0).to(at::kDouble);
        const at::Tensor expected = at::corrcoef(both.t()).nan_to_num(0);
        expect_close(of_group.correlations, expected, 1e-9);
        const auto rows = static_cast<double>(both.size(0));
        expect_close(of_group.distances, at::cdist(both.t(), both.t()).square() / rows, 1e-9);
        EXPECT_GT(varies.sum().item<double>(), 10);
      }
    });
  }
}

TEST(UnitActivations, are_computed_once) {
  const TestZoo zoo = unit_zoo(2);
  with_inputs(zoo, [&](const FusionInput& in) {
    unit_activations(in, 20);
    unit_activations(in, 20);
  });
  EXPECT_EQ(zoo.cache->computed().size(), 1U);
  EXPECT_EQ(zoo.cache->computed().begin()->second, 1);
  TestZoo other = zoo;  // the same models and cache, other inputs
  other.data.set("task0", "train", zoo.data.examples("task0", "test", -1));
  with_inputs(other, [&](const FusionInput& in) { unit_activations(in, 20); });
  EXPECT_EQ(zoo.cache->computed().size(), 2U);
}

TEST(UnitActivations, give_units_that_do_not_vary_no_correlation) {
  TestZoo zoo = unit_zoo(2);
  at::Tensor& bias = zoo.experts[0].at("layers.1.bias");
  bias = bias.clone();
  bias[2] = -1e6;  // dead
  with_inputs(zoo, [&](const FusionInput& in) {
    const at::Tensor correlations = unit_activations(in, 20).at("layers.1").correlations;
    EXPECT_EQ(correlations.select(0, 2).abs().max().item<double>(), 0);
    EXPECT_EQ(correlations.select(1, 2).abs().max().item<double>(), 0);
    EXPECT_NEAR(correlations[3][3].item<double>(), 1, 1e-9);
  });
}

TEST(UnitActivations, are_refused_without_tasks) {
  TestZoo zoo = unit_zoo(2);
  zoo.owners = {{"nobody's", "nobody"}};
  with_inputs(zoo, [&](const FusionInput& in) { EXPECT_THROW(unit_activations(in, 20), ConfigError); });
}

TEST(UnitActivations, have_a_block_for_each_pair_of_experts) {
  const at::Tensor all = at::eye(6, at::kDouble);
  expect_close(block_of(all, 3, 1, 1), at::eye(2, at::kDouble), 0);
  EXPECT_EQ(block_of(all, 3, 0, 2).abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace fusegrid::activations_test
