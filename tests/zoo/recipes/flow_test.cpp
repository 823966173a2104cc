#include <cmath>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "support/temporary_folder.h"
#include "zoo/examples.h"
#include "zoo/flow_world.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"
#include "zoo/support.h"

namespace fusegrid::test {
namespace {

namespace fs = std::filesystem;
using Kind = ZooItem::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <typename Function>
std::string refusal_of(const Function& function) {
  try {
    function();
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

class FlowRecipe : public testing::Test {
 protected:
  FlowRecipe() : plan_(flow_plan(world_.path())) {}

  Result make(Kind kind, const std::string& expert = "", int64_t seed = 0) const {
    return make_item(plan_, {plan_.name(), seed, kind, expert}, at::kCPU);
  }
  static double value(const Result& result, const std::string& metric, const std::string& split) {
    for (const Metric& each : result.metrics) {
      if (each.name == metric && each.split == split) {
        return each.value;
      }
    }
    ADD_FAILURE() << "no " << metric << " on " << split;
    return NAN;
  }

  TemporaryFolder world_;
  ZooPlan plan_;
};

TEST_F(FlowRecipe, a_base_learns_to_make_pictures) {
  const Result few = make(Kind::kBase);
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "dit");
  EXPECT_EQ(folder.config().at("num_embeds_ada_norm"), 4);
  EXPECT_EQ(make(Kind::kBase).facts, few.facts) << "the same bits";
  EXPECT_NE(make(Kind::kBase, "", 1).facts, few.facts);
  plan_.overrides["base_steps"] = 150;
  plan_.overrides["base_lr"] = 0.02;
  EXPECT_LT(value(make(Kind::kBase), "flow_matching_loss", "train"),
            value(few, "flow_matching_loss", "train") / 2);
}

TEST_F(FlowRecipe, a_zoo_has_experts_of_the_seen_cells_and_is_sound) {
  const Zoo zoo = make_tiny_zoo(plan_);
  EXPECT_THAT(zoo.expert_names(), ElementsAre("whole"));
  EXPECT_THAT(zoo.tasks, ElementsAre("whole", "half"));
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  EXPECT_THAT(verify(zoo), IsEmpty());
  const Network network = load_network(zoo, zoo.replicate(0), at::kCPU);
  EXPECT_EQ(network.readout("half").outputs(), 4);
}

TEST_F(FlowRecipe, adapters_are_trained_instead_where_they_are_asked_for) {
  plan_.overrides["lora"] = 2;
  const Zoo zoo = make_tiny_zoo(plan_);
  EXPECT_THAT(verify(zoo), IsEmpty());
  EXPECT_TRUE(fs::exists(plan_.folder / "seed-0/experts/whole/adapter_config.json"));
}

TEST_F(FlowRecipe, other_tasks_and_sizes_are_refused) {
  plan_.overrides["image_size"] = 8;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("image_size x image_size pixels"));
  plan_.overrides["image_size"] = 5;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("image_size of patch"));
}

// ---- the examples of such packs

TEST_F(FlowRecipe, examples_are_noise_at_the_begin_and_on_their_way_in_training) {
  const TaskPack pack(plan_.pack);
  const Examples test = examples_of(pack.read("half", "test"), nullptr, at::kCPU);
  EXPECT_EQ(test.inputs.time.abs().max().item<float>(), 0);
  EXPECT_LE((test.inputs.state + test.velocities - test.pictures).abs().max().item<float>(), 1e-6);
  EXPECT_EQ(test.inputs.condition[1][0].item<int64_t>(), 1) << "bright";
  EXPECT_EQ(test.inputs.condition[1][1].item<int64_t>(), 2 + 1) << "half, behind the classes";
  const Examples train = examples_of(pack.read("half", "train"), nullptr, at::kCPU);
  EXPECT_GT(train.inputs.time.std().item<float>(), 0.1);
  const at::Tensor left = (1 - train.inputs.time).view({-1, 1, 1, 1});
  EXPECT_LE((train.inputs.state + left * train.velocities - train.pictures).abs().max().item<float>(), 1e-5);
}

TEST_F(FlowRecipe, noise_is_of_the_example_and_not_of_what_is_read_with_it) {
  const TaskPack pack(plan_.pack);
  const Examples all = examples_of(pack.read("half", "test"), nullptr, at::kCPU);
  const Examples some = examples_of(pack.read("half", "test", 3, 2), nullptr, at::kCPU);
  EXPECT_TRUE(some.inputs.state.equal(all.inputs.state.narrow(0, 3, 2)));
  const Examples other = examples_of(pack.read("whole", "test"), nullptr, at::kCPU);
  EXPECT_FALSE(other.inputs.state.equal(all.inputs.state));
  EXPECT_FALSE(
      examples_of(pack.read("half", "val"), nullptr, at::kCPU).inputs.state[0].equal(all.inputs.state[0]));
}

}  // namespace
}  // namespace fusegrid::test
