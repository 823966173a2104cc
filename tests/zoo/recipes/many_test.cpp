#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "models/architecture.h"
#include "support/temporary_folder.h"
#include "zoo/build.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"
#include "zoo/support.h"

namespace fusegrid::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// On the base that comes with the program, which reads images of 28 pixels.
class ManyRecipe : public testing::Test {
 protected:
  ManyRecipe() : plan_(tiny_plan(world_.path())) {
    plan_.recipe = "many";
    plan_.overrides = {
        {"expert_steps", 12}, {"expert_batch", 8}, {"multitask_steps", 8}, {"multitask_batch", 4}};
    auto tasks = tiny_tasks();
    uint64_t seed = 40;
    for (auto& [name, task] : tasks) {
      for (auto& [split, group] : task.groups) {
        const int64_t count = split == "train" ? 30 : 9;
        add_labelled(group, images(count, 3, 1, 28, seed++), labels(count, 3));
      }
    }
    stored_pack(tasks).write(plan_.pack);
    EXPECT_THAT(place_bases(plan_, {0}), IsEmpty());
  }

  Zoo make_zoo() const {
    std::vector<Result> results;
    for (const ZooItem& item : model_items(plan_, {0})) {
      results.push_back(make_item(plan_, item, at::kCPU));
    }
    return finish(plan_, {0}, results);
  }
  Weights model(const std::string& folder) const {
    const fs::path path = plan_.folder / "seed-0" / folder;
    return load_weights(*make_architecture(HfFolder(path).config()), path, at::kCPU);
  }
  at::Tensor head(const std::string& file, const std::string& name) const {
    return SafetensorsFile(plan_.folder / "seed-0" / file).read(name);
  }

  TemporaryFolder world_;
  ZooPlan plan_;
};

TEST_F(ManyRecipe, a_zoo_has_a_probe_of_each_task) {
  const Zoo zoo = make_zoo();
  EXPECT_THAT(zoo.expert_names(), ElementsAre("bars", "rows"));
  EXPECT_THAT(verify(zoo), IsEmpty());
  EXPECT_EQ(load_network(zoo, zoo.replicate(0), at::kCPU).readouts.size(), 2U);
  for (const std::string name : {"bars.weight", "rows.weight", "bars.bias", "rows.bias"}) {
    EXPECT_TRUE(head("multitask/heads.safetensors", name).equal(head("heads.safetensors", name)))
        << "frozen, and fitted on the base alone: " << name;
  }
}

TEST_F(ManyRecipe, the_matrices_of_layers_alone_are_trained) {
  make_zoo();
  std::set<std::string> matrices;
  for (const Layer& layer : make_architecture(HfFolder(plan_.folder / "seed-0/base").config())->layers()) {
    matrices.insert(layer.weight);
  }
  for (const std::string folder : {"experts/bars", "multitask"}) {
    std::set<std::string> changed;
    const Weights base = model("base");
    for (const auto& [name, tensor] : model(folder)) {
      if (!tensor.equal(base.at(name))) {
        changed.insert(name);
      }
    }
    EXPECT_EQ(changed, matrices) << folder;
  }
}

TEST_F(ManyRecipe, images_are_shifted) {
  make_zoo();
  const Weights shifted = model("experts/bars");
  plan_.overrides["max_shift"] = 0;
  make_zoo();
  bool same = true;
  for (const auto& [tensor, value] : model("experts/bars")) {
    same = same && value.equal(shifted.at(tensor));
  }
  EXPECT_FALSE(same);
}

TEST_F(ManyRecipe, texts_are_refused) {
  write_text_pack(world_ / "texts.h5");
  const Recipe& recipe = recipe_of(plan_);
  try {
    recipe.check_pack(recipe.scale("small"), plan_.overrides, TaskPack(world_ / "texts.h5"), plan_.tasks);
    FAIL() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("trains on classified images, but task 'bars'"));
    EXPECT_THAT(error.what(), HasSubstr("with tokens"));
  }
}

}  // namespace
}  // namespace fusegrid::test
