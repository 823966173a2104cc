#include "methods/alignment_checks.h"

namespace fusegrid::pleas_test {
namespace {

TEST(Pleas, equals_its_definition) {
  expect_equals_golden(perceptrons_of_golden().first(2), "pleas{apart=0.4}", "pleas");
}

TEST(Pleas, with_nothing_apart_and_no_fit_is_matching) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(2, 2, family);
    expect_close(zoo.fuse("pleas{least_squares=false}").weights, zoo.fuse("activation_matching").weights,
                 1e-7);
    expect_close(zoo.fuse("pleas{least_squares=false,match=weights}").weights,
                 zoo.fuse("weight_matching").weights, 1e-7);
  }
}

// All units of both apart: every task is answered by its own model, and no fit changes that.
TEST(Pleas, with_everything_apart_answers_as_the_experts_do) {
  for (const std::string family : {"mlp", "cnn"}) {
    const TestZoo zoo = unit_zoo(2, 2, family);
    for (const std::string call : {"pleas{apart=1,least_squares=false}", "pleas{apart=1}"}) {
      const Merged merged = zoo.fuse(call);
      for (size_t i = 0; i < 2; ++i) {
        expect_close(zoo.logits(merged, zoo.tasks[i]), zoo.logits_of(zoo.experts[i], zoo.tasks[i]), 1e-3);
      }
      EXPECT_EQ(merged.stored_parameters, static_cast<double>(2 * num_parameters(zoo.experts[0])));
    }
  }
}

TEST(Pleas, aligns_permuted_copies_whatever_stays_apart) {
  for (const std::string family : {"mlp", "cnn"}) {
    expect_aligns_copies("pleas", 2, family);
    const TestZoo zoo = planted_zoo(2, family);
    for (const std::string apart : {"0.3", "0.7", "1"}) {
      const Merged merged = zoo.fuse("pleas{apart=" + apart + "}");
      for (size_t i = 0; i < 2; ++i) {
        expect_close(zoo.logits(merged, zoo.tasks[i]), zoo.logits_of(zoo.experts[i], zoo.tasks[i]), 1e-3);
      }
    }
  }
}

TEST(Pleas, keeps_a_model_that_is_merged_with_itself) {
  expect_keeps_a_model("pleas");
}

TEST(Pleas, stores_more_the_more_stays_apart) {
  const TestZoo zoo = unit_zoo(2, 2);
  double before = 0;
  for (const std::string apart : {"0", "0.25", "0.5", "0.75", "1"}) {
    const double stored = zoo.fuse("pleas{apart=" + apart + "}").stored_parameters;
    EXPECT_GT(stored, before);
    before = stored;
  }
}

// What a layer makes of merged inputs is nearer to what it should be than without a fit: the golden case tells by how
// much; here, that it changes anything at all, and nothing where there is nothing to fit.
TEST(Pleas, fits_layers_of_different_models) {
  const TestZoo zoo = unit_zoo(2, 2);
  EXPECT_NE(digest(zoo.fuse("pleas").weights), digest(zoo.fuse("pleas{least_squares=false}").weights));
}

TEST(Pleas, asks_for_what_its_parameters_need) {
  const Method& method = method_registry().at("pleas");
  EXPECT_TRUE(method.needs({{"match", "weights"}, {"least_squares", "false"}}).empty());
  EXPECT_EQ(method.needs({{"match", "weights"}}), std::set<Need>{Need::kTrainInputs});
  EXPECT_TRUE(method.demands({{"apart", "0.5"}}).contains(Demand::kFreeWidths));
  EXPECT_TRUE(method.demands({}).contains(Demand::kLayers));
}

}  // namespace
}  // namespace fusegrid::pleas_test
