#include "coordinator/priors.h"

#include <functional>

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "fusion/method.h"
#include "support/temporary_folder.h"

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

// A decoder may read a thousand tokens where the tasks have twelve.
TEST(SizeOfAZoo, TokensAreThoseOfTheLongestRowOfItsTasks) {
  const TemporaryFolder folder;
  const nlohmann::json config{{"model_type", "gpt2"}, {"n_embd", 8},      {"n_layer", 2},
                              {"n_head", 2},          {"vocab_size", 16}, {"n_positions", 1024}};
  save_hf_folder(folder / "base", {{"w", at::zeros({1})}}, config);
  write_text(folder / "pack.h5", "pack");
  Zoo zoo;
  zoo.tasks = {"short", "long"};
  zoo.pack = folder / "pack.h5";
  Replicate replicate;
  replicate.base = folder / "base";
  zoo.replicates = {replicate};
  PackContents contents;
  contents["short"].longest_row = 5;
  contents["long"].longest_row = 9;
  contents["long"].attributes = {{"longest_answer", 3}};
  contents["of_others"].longest_row = 100;
  const ZooSize size = zoo_size(zoo, contents);
  EXPECT_EQ(size.tokens, 12);
  EXPECT_EQ(size.input_bytes, 8 * 12);
  EXPECT_EQ(size.blocks, 2);
}

}  // namespace
}  // namespace fusegrid
