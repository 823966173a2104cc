#include "coordinator/priors.h"

#include <functional>

#include <gtest/gtest.h>

#include "fusion/method.h"

namespace fusegrid {
namespace {

const ZooSize kSize{.model_bytes = 4000, .tokens = 10, .width = 2, .blocks = 3, .input_bytes = 12};

Cell cell_of(const std::string& method) {
  return Cell::parse("z/experts=4/" + method + "/seed=0/a@clean");
}

struct Steps {
  int64_t steps = 1000;
  int64_t batch = 16;
  int64_t examples = 256;
  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("steps", steps, Range{0, 1e6}, "");
    v.param("batch", batch, Range{1, 4096}, "");
    v.param("examples", examples, Range{1, 4096}, "");
  }
};

class Priors : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto fuse = [](const FusionInput&, const auto&) -> FusedModel { return {}; };
    const auto add = [&](const std::string& name, const std::function<void(MethodCard&)>& change) {
      MethodCard card{.name = name, .title = "", .paper = "", .formula = ""};
      change(card);
      if (!method_registry().contains(card.name)) {
        const RegisterMethod<Steps> registered{card, fuse};
      }
    };
    add("prior_reference", [](MethodCard& card) {
      card.family = Family::kReference;
      card.min_experts = 0;
    });
    add("prior_ensemble", [](MethodCard& card) { card.yields = Yields::kEnsemble; });
    add("prior_average", [](MethodCard&) {});
    add("prior_per_task", [](MethodCard& card) { card.yields = Yields::kModelPerTask; });
    add("prior_training", [](MethodCard& card) { card.cost = Cost::kTraining; });
    add("prior_statistics", [](MethodCard& card) { card.cost = Cost::kForwardPasses; });
  }
};

TEST_F(Priors, seconds_of_training_follow_the_steps_that_the_cell_asks_for) {
  const auto seconds = [](const std::string& parameters) {
    return prior_fuse_s(cell_of("prior_training" + parameters), kSize);
  };
  EXPECT_NEAR(seconds("{steps=300}"), 2 * seconds("{steps=150}"), 1e-9);
  EXPECT_GT(seconds("{batch=32,steps=300}"), 1.5 * seconds("{batch=16,steps=300}"));
  EXPECT_EQ(seconds("{steps=0}"), 0);
}

TEST_F(Priors, seconds_of_statistics_follow_the_examples_that_the_cell_asks_for) {
  EXPECT_GT(prior_fuse_s(cell_of("prior_statistics{examples=4096}"), kSize),
            prior_fuse_s(cell_of("prior_statistics{examples=256}"), kSize));
  EXPECT_EQ(prior_fuse_s(cell_of("prior_reference"), kSize), 0);
}

TEST_F(Priors, an_ensemble_asks_all_its_members) {
  EXPECT_EQ(models_asked(cell_of("prior_ensemble")), 4);
  EXPECT_EQ(models_asked(cell_of("prior_average")), 1);
}

TEST_F(Priors, work_is_the_result_and_the_activations) {
  const int64_t activations =
      work_bytes(cell_of("prior_reference"), kSize, 8);  // its result is a model of the zoo
  EXPECT_EQ(activations, 2 * work_bytes(cell_of("prior_reference"), kSize, 4));
  EXPECT_EQ(work_bytes(cell_of("prior_ensemble"), kSize, 8), activations);
  EXPECT_EQ(work_bytes(cell_of("prior_average"), kSize, 8), activations + kSize.model_bytes);
  EXPECT_EQ(work_bytes(cell_of("prior_per_task"), kSize, 8), activations + 4 * kSize.model_bytes);
  EXPECT_GT(work_bytes(cell_of("prior_training{batch=64}"), kSize, 1),
            work_bytes(cell_of("prior_training{batch=16}"), kSize, 1));
}

}  // namespace
}  // namespace fusegrid
