#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support.h"

namespace fusegrid::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A finished zoo; every test has a copy.
class ExistingModels : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new TemporaryFolder;
    made_ = new ZooPlan(tiny_plan(world_->path()));
    make_tiny_zoo(*made_);
  }
  static void TearDownTestSuite() {
    delete made_;
    delete world_;
  }
  ExistingModels() {
    fs::copy(made_->folder, copy_.path() / made_->name(), fs::copy_options::recursive);
    plan_.folder = copy_.path() / made_->name();
    for (const auto& items : {base_items(plan_, {0}), model_items(plan_, {0})}) {
      for (const ZooItem& item : items) {
        recorded_.insert(item.name());
      }
    }
  }
  // What is said of training these seeds' models, and their bases too where `bases`.
  std::string complaint(const std::vector<int64_t>& seeds, bool bases = false) const {
    std::vector<ZooItem> items = bases ? base_items(plan_, seeds) : std::vector<ZooItem>{};
    const auto models = model_items(plan_, seeds);
    items.insert(items.end(), models.begin(), models.end());
    try {
      check_existing_models(plan_, seeds, items, recorded_);
      return "";
    } catch (const ConfigError& error) {
      return error.what();
    }
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline ZooPlan* made_ = nullptr;
  TemporaryFolder copy_;
  ZooPlan plan_ = *made_;
  std::set<std::string> recorded_;
};

TEST_F(ExistingModels, are_continued_and_get_more_seeds) {
  EXPECT_EQ(complaint({0}), "");
  EXPECT_EQ(complaint({0, 1}, true), "");
}

TEST_F(ExistingModels, get_none_of_another_recipe_beside_them) {
  plan_.overrides["expert_steps"] = 11;
  EXPECT_THAT(complaint({0, 1}),
              AllOf(HasSubstr("expert_steps is 10, not 11 as this command asks for"), HasSubstr("--out")));
  fs::remove(plan_.folder / "zoo.json");
  EXPECT_THAT(complaint({0, 1}), HasSubstr("expert_steps is 10, not 11")) << "trained, not finished";
}

TEST_F(ExistingModels, a_base_counts_by_its_own_numbers) {
  fs::remove_all(plan_.folder / "seed-0/experts");
  fs::remove_all(plan_.folder / "seed-0/multitask");
  fs::remove(plan_.folder / "zoo.json");
  recorded_.clear();
  plan_.overrides["expert_steps"] = 11;
  EXPECT_EQ(complaint({0}), "");
  plan_.overrides["base_steps"] = 11;
  EXPECT_THAT(complaint({0}), HasSubstr("base_steps is 10, not 11"));
}

TEST_F(ExistingModels, of_a_finished_zoo_are_not_trained_anew) {
  recorded_.clear();
  EXPECT_THAT(complaint({0}), HasSubstr("would train 'embedded-tiny/seed=0/expert=bars' anew"));
}

TEST_F(ExistingModels, bases_of_other_models_are_not_trained_anew) {
  fs::remove(plan_.folder / "zoo.json");
  recorded_.erase("embedded-tiny/seed=0/base");  // it came with the program
  EXPECT_EQ(complaint({0}), "");
  EXPECT_THAT(complaint({0}, true), HasSubstr("would train 'embedded-tiny/seed=0/base' anew"));
}

TEST_F(ExistingModels, of_an_attempt_that_died_are_replaced) {
  fs::remove(plan_.folder / "zoo.json");
  recorded_.erase("embedded-tiny/seed=0/expert=rows");
  EXPECT_EQ(complaint({0}), "");
}

TEST_F(ExistingModels, an_imported_zoo_is_not_built_over) {
  Zoo zoo = Zoo::load(plan_.folder);
  zoo.imported = true;
  zoo.save();
  EXPECT_THAT(complaint({0}), HasSubstr("was imported"));
}

}  // namespace
}  // namespace fusegrid::test
