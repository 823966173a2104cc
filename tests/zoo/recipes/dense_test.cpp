#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "models/deeplab.h"
#include "support/temporary_folder.h"
#include "zoo/folders.h"
#include "zoo/map_world.h"
#include "zoo/recipe.h"

namespace fusegrid::test {
namespace {

namespace fs = std::filesystem;
using Kind = ZooItem::Kind;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;

template <typename Function>
std::string refusal(const Function& function) {
  try {
    function();
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

class DenseRecipe : public testing::Test {
 protected:
  DenseRecipe() : plan_(map_plan(world_.path())) {}

  Result make(Kind kind, const std::string& task = "", int64_t seed = 0) const {
    return make_item(plan_, {plan_.name(), seed, kind, task}, at::kCPU);
  }
  Weights model(const std::string& folder) const {
    const fs::path path = plan_.folder / "seed-0" / folder;
    return load_weights(*make_architecture(HfFolder(path).config()), path, at::kCPU);
  }
  Zoo make_zoo() const {
    std::vector<Result> results{make(Kind::kBase)};
    for (const ZooItem& item : model_items(plan_, {0})) {
      results.push_back(make_item(plan_, item, at::kCPU));
    }
    return finish(plan_, {0}, results);
  }
  static double value(const Result& result, const std::string& metric, const std::string& split = "test") {
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

TEST_F(DenseRecipe, a_base_guesses_what_is_hidden_without_a_pool) {
  const Result few = make(Kind::kBase);
  const HfFolder folder(plan_.folder / "seed-0/base");
  EXPECT_EQ(folder.config().at("model_type"), "resnet_cifar");
  EXPECT_EQ(make_architecture(folder.config())->num_tokens(), 4) << "of 8 x 8 pixels a map of 2 x 2";
  EXPECT_EQ(make(Kind::kBase).facts, few.facts) << "the same bits";
  EXPECT_NE(make(Kind::kBase, "", 1).facts, few.facts);
  plan_.overrides["base_steps"] = 60;
  EXPECT_LT(value(make(Kind::kBase), "hidden_pixel_loss", "train"), value(few, "hidden_pixel_loss", "train"));
}

TEST_F(DenseRecipe, an_expert_trains_everything_and_learns_its_maps) {
  make(Kind::kBase);
  plan_.overrides["expert_steps"] = 60;
  plan_.overrides["expert_lr"] = 0.01;
  const Weights base = model("base");
  const Result shade = make(Kind::kExpert, "shade");
  EXPECT_GT(value(shade, "pixel_accuracy"), 0.9) << "a constant has about a half";
  const Weights trained = model("experts/shade");
  for (const auto& [name, tensor] : trained) {
    EXPECT_FALSE(tensor.equal(base.at(name))) << name;
  }
  EXPECT_LT(value(make(Kind::kExpert, "near"), "absolute_error"), 0.5) << "a constant has 1";
  EXPECT_LT(value(make(Kind::kExpert, "side"), "mean_angle"), 30) << "a constant has 45";
  EXPECT_EQ(make(Kind::kExpert, "shade").facts, shade.facts) << "the same bits";
}

TEST_F(DenseRecipe, a_zoo_has_a_decoder_of_each_task_and_is_sound) {
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.pooling, Pooling::kNone);
  EXPECT_THAT(verify(zoo), IsEmpty());
  const Replicate& replicate = zoo.replicate(0);
  const Network network = load_network(zoo, replicate, at::kCPU);
  EXPECT_EQ(network.readout("shade").outputs(), 2);
  EXPECT_EQ(network.readout("near").outputs(), 1);
  EXPECT_EQ(network.readout("side").outputs(), 3);
  EXPECT_TRUE(replicate.multitask_heads.has_value());
  for (const std::string score :
       {"shade/shade/test/mean_iou", "near/near/val/relative_error", "side/side/test/within_11"}) {
    EXPECT_THAT(replicate.scores, Contains(Key(score)));
  }
  const SafetensorsFile heads(replicate.heads);
  EXPECT_EQ(heads.read("near.conv.weight").sizes().vec(), (std::vector<int64_t>{8, 16, 3, 3}));
  EXPECT_EQ(heads_of(replicate.heads, {"near"}).size(), 7U);
}

// What a decoder's batch norm has at evaluation are the statistics that training met.
TEST_F(DenseRecipe, decoders_keep_running_statistics) {
  make(Kind::kBase);
  make(Kind::kExpert, "near");
  const SafetensorsFile head(plan_.folder / "seed-0/experts/near/head.safetensors");
  const at::Tensor variance = head.read("near.norm.running_var");
  EXPECT_TRUE((variance > 0).all().item<bool>());
  EXPECT_FALSE((variance == 1).any().item<bool>());
}

TEST_F(DenseRecipe, decoders_that_fit_nothing_are_refused) {
  const Zoo zoo = make_zoo();
  const fs::path file = zoo.replicate(0).heads;
  const Weights heads = heads_of(file, zoo.tasks);
  const auto problem = [&](const std::string& tensor, const std::optional<at::Tensor>& other) {
    Weights changed = heads;
    changed.erase(tensor);
    if (other) {
      changed[tensor] = *other;
    }
    write_safetensors(file, changed);
    return refusal([&] { load_network(zoo, zoo.replicate(0), at::kCPU); });
  };
  EXPECT_EQ(problem("near.bias", heads.at("near.bias")), "");
  EXPECT_THAT(problem("near.bias", {}),
              HasSubstr("is a decoder, which has a tensor near.bias, but it is missing"));
  EXPECT_THAT(problem("near.norm.weight", at::ones({7})),
              HasSubstr("norm.weight must have the shape [8], but it has [7]"));
  EXPECT_THAT(
      problem("near.conv.weight", at::ones({8, 5, 3, 3})),
      HasSubstr("conv.weight must have the shape [hidden, 16, k, k] with k odd, but it has [8, 5, 3, 3]"));
  EXPECT_THAT(problem("near.conv.weight", {}),
              HasSubstr("reads pooled features, but the pooling of the zoo is none; decoders ask for none"));
  Zoo pooled = zoo;
  pooled.pooling = Pooling::kMean;
  write_safetensors(file, heads);
  EXPECT_THAT(refusal([&] { load_network(pooled, zoo.replicate(0), at::kCPU); }),
              HasSubstr("is a decoder, which reads a map, but the pooling of the zoo is mean"));
}

TEST_F(DenseRecipe, a_decoder_may_be_that_of_deeplab) {
  const Zoo zoo = make_zoo();
  const fs::path file = zoo.replicate(0).heads;
  Weights heads = heads_of(file, {"shade", "side"});
  for (const TensorInfo& info : deeplab_parameters(16, 4, 1, {1, 2})) {
    heads["near." + info.name] = at::ones(info.shape);
  }
  write_safetensors(file, heads);
  const Network network = load_network(zoo, zoo.replicate(0), at::kCPU);
  EXPECT_EQ(network.readout("near").features(), 16);
  EXPECT_EQ(network.readout("near").weights().size(), 6U * 5 + 2)
      << "six kernels with a norm each, an affine map";
  EXPECT_EQ(heads_of(file, {"near"}).size(), 6U * 5 + 2);
  heads.erase("near.aspp.2.norm.bias");
  write_safetensors(file, heads);
  EXPECT_THAT(refusal([&] { load_network(zoo, zoo.replicate(0), at::kCPU); }),
              HasSubstr("has a tensor near.aspp.2.norm.bias, but it is missing"));
  heads["near.aspp.2.norm.bias"] = at::ones({5});
  write_safetensors(file, heads);
  EXPECT_THAT(refusal([&] { load_network(zoo, zoo.replicate(0), at::kCPU); }),
              HasSubstr("aspp.2.norm.bias must have the shape [4], but it has [5]"));
}

TEST_F(DenseRecipe, other_tasks_and_sizes_are_refused) {
  plan_.overrides["image_size"] = 12;
  EXPECT_THAT(refusal([&] { check_tasks(plan_); }), HasSubstr("the models take images of 12 x 12 pixels"));
  plan_.overrides["image_size"] = 10;
  EXPECT_THAT(refusal([&] { check_tasks(plan_); }),
              HasSubstr("image_size must be a multiple of 4 and of hidden_side"));
  plan_.overrides["image_size"] = kMapSide;
  StoredGroup split = stored_split(3);
  split.arrays["images"] = stored_images({3, 3, kMapSide, kMapSide});
  split.arrays["labels"] = stored<uint16_t>({0, 1, 0});
  StoredGroup task = stored_task("classify", R"({"classes": ["a", "b"]})");
  task.groups = {{"train", split}, {"val", split}, {"test", split}};
  stored_pack({{"letters", task}}).write(plan_.pack);
  plan_.tasks = {"letters"};
  EXPECT_THAT(refusal([&] { check_tasks(plan_); }),
              HasSubstr("trains on maps of classes, depths or normals, but task 'letters'"));
}

}  // namespace
}  // namespace fusegrid::test
