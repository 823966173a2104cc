#include "methods/alignment_checks.h"

namespace fusegrid::ot_fusion_test {
namespace {

TEST(OtFusion, equals_its_definition) {
  const TestZoo zoo = perceptrons_of_golden();
  expect_equals_golden(zoo, "ot_fusion", "ot_fusion");
  expect_equals_golden(zoo, "ot_fusion{regularisation=0.05}", "ot_fusion_entropic");
  expect_equals_golden(zoo, "ot_fusion{cost=activations,regularisation=0.05}", "ot_fusion_activations");
}

TEST(OtFusion, with_exact_transports_is_a_permutation) {
  for (const std::string family : {"mlp", "cnn"}) {
    for (const std::string call : {"ot_fusion{t=1}", "ot_fusion{t=1,cost=activations}"}) {
      const TestZoo zoo = unit_zoo(2, 2, family);
      const Merged second = zoo.fuse(call);
      expect_close(zoo.logits(second, "task1"), zoo.logits_of(zoo.experts[1], "task1"), 1e-4);
      for (const std::string layer : {"layers.0.bias", "layers.1.bias"}) {
        expect_close(std::get<0>(second.weights.at(layer).sort()),
                     std::get<0>(zoo.experts[1].at(layer).sort()), 0);
      }
    }
  }
}

TEST(OtFusion, goes_to_exact_transports_where_entropy_counts_less) {
  const TestZoo zoo = perceptrons_of_golden();
  const Weights exact = zoo.fuse("ot_fusion").weights;
  double before = 1e9;
  for (const std::string regularisation : {"0.3", "0.03", "0.003"}) {
    double apart = 0;
    for (const auto& [name, tensor] : zoo.fuse("ot_fusion{regularisation=" + regularisation + "}").weights) {
      apart = std::max(apart, (tensor - exact.at(name)).abs().max().item<double>());
    }
    EXPECT_LT(apart, before);
    before = apart;
  }
  EXPECT_LT(before, 0.02);
}

TEST(OtFusion, aligns_permuted_copies) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("ot_fusion", 3, family);
    expect_aligns_copies("ot_fusion{cost=activations}", 3, family);
  }
}

TEST(OtFusion, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("ot_fusion", 3);
  expect_keeps_a_model("ot_fusion{cost=activations}", 3);
}

TEST(OtFusion, draws_a_path_between_two_models) {
  expect_draws_a_path("ot_fusion");
}

TEST(OtFusion, tells_how_well_its_transports_keep_masses) {
  const TestZoo zoo = unit_zoo(2, 2);
  EXPECT_EQ(zoo.fuse("ot_fusion").facts.at("marginal_error"), "0");
  const double left = std::stod(zoo.fuse("ot_fusion{regularisation=0.1}").facts.at("marginal_error"));
  EXPECT_GT(left, 0);
  EXPECT_LE(left, 1e-9);
}

TEST(OtFusion, needs_inputs_for_activations_alone) {
  const Method& method = method_registry().at("ot_fusion");
  EXPECT_TRUE(method.needs({}).empty());
  EXPECT_EQ(method.needs({{"cost", "activations"}}), std::set<Need>{Need::kTrainInputs});
}

TEST(OtFusion, refuses_entropies_too_small_to_iterate) {
  EXPECT_THROW(unit_zoo(2).fuse("ot_fusion{regularisation=0.0001}"), ConfigError);
}

}  // namespace
}  // namespace fusegrid::ot_fusion_test
