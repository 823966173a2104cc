#include <set>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "core/errors.h"
#include "zoo/recipe.h"
#include "zoo/support.h"

namespace fusegrid::test {
namespace {

using testing::HasSubstr;

class EmbeddedRecipe : public testing::Test {
 protected:
  EmbeddedRecipe() { made_ = make(ZooItem::Kind::kBase); }
  Result make(ZooItem::Kind kind, const std::string& task = "", int64_t seed = 0) {
    return make_item(plan_, {plan_.name(), seed, kind, task}, at::kCPU);
  }
  std::string digest_of(ZooItem::Kind kind, const std::string& task = "", int64_t seed = 0) {
    return make(kind, task, seed).facts.at("weights_sha256");
  }
  Weights model(const std::string& folder) const {
    return load_weights(*architecture(), plan_.folder / "seed-0" / folder, at::kCPU);
  }
  std::shared_ptr<const Architecture> architecture() const {
    return load_network_without_readouts(plan_.folder / "seed-0/base", at::kCPU).architecture;
  }
  std::set<std::string> changed(const Weights& weights) const {
    std::set<std::string> names;
    const Weights base = model("base");
    for (const auto& [name, tensor] : weights) {
      if (!tensor.equal(base.at(name))) {
        names.insert(name);
      }
    }
    return names;
  }
  std::set<std::string> matrices() const {
    std::set<std::string> names;
    for (const Layer& layer : architecture()->layers()) {
      names.insert(layer.weight);
    }
    return names;
  }
  static double value(const Result& result, const std::string& metric) {
    for (const Metric& each : result.metrics) {
      if (each.name == metric && each.split == "test") {
        return each.value;
      }
    }
    ADD_FAILURE() << "no " << metric;
    return 0;
  }

  TemporaryFolder world_;
  ZooPlan plan_ = tiny_plan(world_.path());
  Result made_;
};

TEST_F(EmbeddedRecipe, PretrainingTwiceGivesTheSameBits) {
  const std::string heads = sha256_of_file(plan_.folder / "seed-0/heads.safetensors");
  EXPECT_EQ(digest_of(ZooItem::Kind::kBase), made_.facts.at("weights_sha256"));
  EXPECT_EQ(sha256_of_file(plan_.folder / "seed-0/heads.safetensors"), heads);
  EXPECT_NE(digest_of(ZooItem::Kind::kBase, "", 1), made_.facts.at("weights_sha256"));
}

TEST_F(EmbeddedRecipe, HeadsAreUnitRowsOfEachTask) {
  const SafetensorsFile heads(plan_.folder / "seed-0/heads.safetensors");
  for (const std::string task : {"bars", "rows"}) {
    const at::Tensor rows = heads.read(task + ".rows");
    EXPECT_EQ(rows.sizes().vec(), (std::vector<int64_t>{3, 8})) << task;
    EXPECT_LT((rows.square().sum(1) - 1).abs().max().item<double>(), 1e-5) << task;
  }
  EXPECT_FALSE(heads.read("bars.rows").equal(heads.read("rows.rows")));
  EXPECT_LE(heads.read("logit_scale").item<double>(), std::log(100.0) + 1e-6);
}

TEST_F(EmbeddedRecipe, FineTuningTwiceGivesTheSameBitsAndChangesTheMatricesOnly) {
  const std::string expert = digest_of(ZooItem::Kind::kExpert, "bars");
  EXPECT_EQ(digest_of(ZooItem::Kind::kExpert, "bars"), expert);
  EXPECT_NE(digest_of(ZooItem::Kind::kExpert, "rows"), expert);
  EXPECT_EQ(changed(model("experts/bars")), matrices());
}

TEST_F(EmbeddedRecipe, MultitaskTwiceGivesTheSameBitsAndChangesTheMatricesOnly) {
  const std::string multitask = digest_of(ZooItem::Kind::kMultitask);
  EXPECT_EQ(digest_of(ZooItem::Kind::kMultitask), multitask);
  EXPECT_EQ(changed(model("multitask")), matrices());
}

TEST_F(EmbeddedRecipe, LearnsWhatItIsShown) {
  const double before = value(made_, "loss/bars");
  plan_.overrides["expert_steps"] = 300;
  plan_.overrides["multitask_steps"] = 150;
  const Result expert = make(ZooItem::Kind::kExpert, "bars");
  EXPECT_LT(value(expert, "loss"), 0.5 * before);
  EXPECT_GT(value(expert, "accuracy"), 0.8) << "a third by guessing";
  EXPECT_LT(value(make(ZooItem::Kind::kMultitask), "loss/bars"), 0.7 * before);
}

TEST_F(EmbeddedRecipe, APoolOfTextsIsRefused) {
  StoredGroup source;
  source.attributes = {{"kind", "text"}, {"examples", int64_t{1}}, {"share", 1.0}};
  source.add_rows("tokens", {{2, 3}});
  StoredGroup pool = stored_pool({{"corpus", source}});
  pool.groups["tokens"] = stored_tokens();
  pool.write(plan_.pool);
  try {
    check_pool(plan_);
    ADD_FAILURE() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the pool has only texts"));
  }
}

}  // namespace
}  // namespace fusegrid::test
