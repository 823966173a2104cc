#include <fstream>

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors_writer.h"
#include "zoo/folders.h"
#include "zoo/recipe.h"
#include "zoo/token_recipe.h"

namespace fusegrid::test {
namespace {

using Kind = ZooItem::Kind;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Tasks "colours" and "shapes" in some languages. By default there are experts of the first three.
const std::vector<std::string> kCells{"colours_en", "shapes_en", "colours_de", "shapes_de", "colours_fr"};

std::string attributes_of(const std::string& cell) {
  return R"({"classes": ["a", "b", "c"], "task": ")" + cell.substr(0, cell.find('_')) + R"(", "domain": ")" +
         cell.substr(cell.find('_') + 1) + "\"}";
}

std::map<std::string, StoredGroup> grid_tasks() {
  std::map<std::string, StoredGroup> tasks;
  for (const std::string& cell : kCells) {
    StoredGroup& task = tasks[cell] = stored_task("classify", attributes_of(cell));
    for (const std::string split : {"train", "val", "test"}) {
      const int64_t count = split == "train" ? 60 : 12;
      StoredGroup& group = task.groups[split] = stored_split(count);
      group.add_rows("tokens", word_rows(count, derive_key(5, cell + split)));
      group.arrays["labels"] = stored(elements<uint16_t>(labels(count, 3)));
    }
  }
  return tasks;
}

void write_grid_pack(const fs::path& path, const std::map<std::string, StoredGroup>& tasks = grid_tasks()) {
  StoredGroup pack = stored_pack(tasks);
  pack.groups["tokens"] = word_tokens();
  pack.write(path);
}

ZooPlan grid_plan(const fs::path& folder) {
  ZooPlan plan = word_plan(folder);
  write_grid_pack(plan.pack);
  plan.recipe = "text_grid";
  plan.tasks = kCells;
  plan.overrides = {{"seen", 3},
                    {"expert_steps", 10},
                    {"expert_batch", 8},
                    {"multitask_steps", 10},
                    {"multitask_batch", 4}};
  return plan;
}

// On a base that the recipe text made.
class TextGridRecipe : public TokenRecipe {
 protected:
  static void SetUpTestSuite() { made_ = new MadeBaseOnce(word_plan); }
  static void TearDownTestSuite() { delete made_; }
  TextGridRecipe() : TokenRecipe(grid_plan, *made_) {}

  at::Tensor head_of(const std::string& cell) const { return head("heads.safetensors", cell + ".weight"); }
  static std::vector<std::string> names_of(const Result& result) {
    std::vector<std::string> names;
    for (const Metric& metric : result.metrics) {
      names.push_back(metric.name);
    }
    return names;
  }

  static inline MadeBaseOnce* made_ = nullptr;
};

TEST_F(TextGridRecipe, AZooHasExpertsOfTheSeenCellsAndHeadsOfAll) {
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.tasks, kCells);
  EXPECT_THAT(zoo.expert_names(), ElementsAre("colours_en", "shapes_en", "colours_de"));
  EXPECT_THAT(zoo.tasks_of(zoo.expert_names()), ElementsAre("colours_en", "shapes_en", "colours_de"));
  EXPECT_THAT(verify(zoo), IsEmpty());
  EXPECT_EQ(load_network(zoo, zoo.replicate(0), at::kCPU).readouts.size(), 5U);
  EXPECT_FALSE(fs::exists(plan_.folder / "seed-0/experts/shapes_de"));
}

TEST_F(TextGridRecipe, AllCellsOfATaskShareItsHead) {
  make_zoo();
  EXPECT_TRUE(head_of("colours_de").equal(head_of("colours_en")));
  EXPECT_TRUE(head_of("colours_fr").equal(head_of("colours_en"))) << "a cell that no expert was made for";
  EXPECT_TRUE(head_of("shapes_de").equal(head_of("shapes_en")));
  EXPECT_FALSE(head_of("shapes_en").equal(head_of("colours_en")));
  for (const std::string& cell : kCells) {
    EXPECT_TRUE(head("multitask/heads.safetensors", cell + ".weight").equal(head_of(cell)))
        << "frozen, and fitted on the base alone";
  }
}

TEST_F(TextGridRecipe, AHeadIsFittedOnAllSeenCellsOfItsTask) {
  plan_.multitask = false;
  make_zoo();
  const at::Tensor of_two = head_of("colours_en");
  const at::Tensor of_one = head_of("shapes_en");
  plan_.overrides["seen"] = 2;
  make_zoo();
  EXPECT_FALSE(head_of("colours_en").equal(of_two)) << "colours_de is not seen now";
  EXPECT_TRUE(head_of("shapes_en").equal(of_one));
}

// Their training examples could as well be others.
TEST_F(TextGridRecipe, NothingIsLearntFromUnseenCells) {
  plan_.multitask = true;
  const auto digests = make_zoo().replicate(0).digests;
  const at::Tensor colours = head_of("colours_fr");
  auto tasks = grid_tasks();
  tasks["colours_fr"] = tasks["shapes_en"];
  tasks["colours_fr"].arrays["attributes"] = stored_bytes(attributes_of("colours_fr"));
  tasks["shapes_de"] = tasks["colours_en"];
  tasks["shapes_de"].arrays["attributes"] = stored_bytes(attributes_of("shapes_de"));
  write_grid_pack(plan_.pack, tasks);
  EXPECT_EQ(make_zoo().replicate(0).digests, digests);
  EXPECT_TRUE(head_of("colours_fr").equal(colours));
}

TEST_F(TextGridRecipe, TheMatricesOfLayersAloneAreTrained) {
  make(Kind::kExpert, "colours_de");
  make(Kind::kMultitask);
  std::set<std::string> matrices;
  for (const Layer& layer : make_architecture(HfFolder(plan_.folder / "seed-0/base").config())->layers()) {
    matrices.insert(layer.weight);
  }
  EXPECT_EQ(changed("experts/colours_de"), matrices);
  EXPECT_EQ(changed("multitask"), matrices);
}

TEST_F(TextGridRecipe, TheMultitaskModelIsOfTheSeenCells) {
  const Result multitask = make(Kind::kMultitask);
  EXPECT_THAT(names_of(multitask), AllOf(Contains("accuracy/colours_en"), Contains("accuracy/shapes_en"),
                                         Contains("accuracy/colours_de"), Contains("accuracy")));
  EXPECT_THAT(names_of(multitask), Each(AllOf(Not(HasSubstr("shapes_de")), Not(HasSubstr("colours_fr")))));
}

TEST_F(TextGridRecipe, ExpertsLearnTheirCell) {
  plan_.overrides["expert_lr"] = 0.01;
  plan_.overrides["expert_steps"] = 200;
  EXPECT_GT(value(make(Kind::kExpert, "colours_en"), "accuracy"), 0.85);
  plan_.overrides["expert_lr"] = 0;
  EXPECT_LT(value(make(Kind::kExpert, "colours_en"), "accuracy"), 0.7) << "of the base under the head";
}

TEST_F(TextGridRecipe, AnOracleAddsExpertsAndChangesNothing) {
  const auto before = make_zoo().replicate(0).digests;
  const at::Tensor colours = head_of("colours_fr");
  plan_.overrides["oracle"] = true;
  const Zoo zoo = make_zoo();
  EXPECT_EQ(zoo.expert_names(), kCells) << "the seen ones first: a job merges 'experts = 3'";
  for (const auto& [model, digest] : before) {
    EXPECT_EQ(zoo.replicate(0).digests.at(model), digest) << model;
  }
  EXPECT_TRUE(head_of("colours_fr").equal(colours)) << "still not fitted on colours_fr";
  EXPECT_THAT(verify(zoo), IsEmpty());
}

TEST_F(TextGridRecipe, ExpertsOfUnseenCellsAreNotMade) {
  EXPECT_THAT(refusal_of([&] { make(Kind::kExpert, "shapes_de"); }),
              HasSubstr("with experts of colours_en, shapes_en, colours_de"));
}

TEST_F(TextGridRecipe, ExpertsOfDifferentHeadsAreNotMixed) {
  const fs::path file = plan_.folder / "seed-0/experts/colours_de/head.safetensors";
  plan_.multitask = false;
  make_zoo();
  Weights others;
  for (const std::string cell : {"colours_en", "colours_de", "colours_fr"}) {
    for (const std::string part : {".weight", ".bias"}) {
      others.emplace(cell + part, head("experts/colours_de/head.safetensors", cell + part) + 1);
    }
  }
  write_safetensors(file, others);
  std::vector<Result> results;
  for (const std::string cell : {"colours_en", "shapes_en", "colours_de"}) {
    Result& result = results.emplace_back();
    result.name = plan_.name() + "/seed=0/expert=" + cell;
    result.facts["weights_sha256"] = "0";
  }
  EXPECT_THAT(refusal_of([&] { finish(plan_, {0}, results); }),
              AllOf(HasSubstr("of the experts 'colours_en' and 'colours_de' of seed 0 differ"),
                    HasSubstr("one kind of device")));
}

TEST_F(TextGridRecipe, BasesAreThoseOfTheRecipeText) {
  const fs::path base = plan_.folder / "seed-0/base";
  const ZooPlan bases = plan_of_bases(plan_);
  EXPECT_EQ(bases.recipe, "text");
  EXPECT_THAT(bases.overrides, IsEmpty());
  nlohmann::json provenance = read_provenance(base);
  provenance["recipe"] = described_recipe(bases);
  std::ofstream(base / "provenance.json") << provenance.dump();
  const fs::path data = world_ / "data";
  fs::create_directories(data / "zoo");
  fs::rename(plan_.folder, data / "zoo/text-small");
  ::setenv("FUSEGRID_DATA", data.c_str(), 1);
  EXPECT_EQ(place_bases(plan_, {0, 1}), (std::vector<int64_t>{1}));
  ::unsetenv("FUSEGRID_DATA");
  EXPECT_TRUE(fs::exists(base / "tokenizer.json"));
  EXPECT_EQ(refusal_of([&] { check_existing_models(plan_, {0}, {}, {}); }), "");
  provenance["recipe"]["width"] = 256;
  std::ofstream(base / "provenance.json") << provenance.dump();
  EXPECT_THAT(refusal_of([&] { check_existing_models(plan_, {0}, {}, {}); }),
              HasSubstr("width is 256, not 128"));
  fs::remove(plan_.pool);
  EXPECT_THAT(refusal_of([&] { check_pool(plan_); }), HasSubstr("make it with tools/make_text_pool.py"));
}

TEST_F(TextGridRecipe, ATaskWithoutASeenCellIsRefused) {
  plan_.overrides["seen"] = 1;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              AllOf(HasSubstr("'shapes' has none among colours_en"), HasSubstr("set seen=2 or more")));
  plan_.overrides["seen"] = 6;
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("at most the number of cells, 5, but it is 6"));
  plan_.overrides["seen"] = 5;
  EXPECT_EQ(refusal_of([&] { check_tasks(plan_); }), "");
}

TEST_F(TextGridRecipe, TasksThatAreNoCellsAreRefused) {
  auto tasks = grid_tasks();
  tasks["shapes_de"].arrays["attributes"] = stored_bytes(R"({"classes": ["a", "b", "c"]})");
  write_grid_pack(plan_.pack, tasks);
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              AllOf(HasSubstr("task 'shapes_de'"), HasSubstr("has no attribute 'task'")));
  tasks["shapes_de"] = stored_task("regress", "{}");
  for (const std::string split : {"train", "val", "test"}) {
    tasks["shapes_de"].groups[split] = stored_split(3);
    tasks["shapes_de"].groups[split].add_rows("tokens", word_rows(3, 3));
    tasks["shapes_de"].groups[split].arrays["values"] = stored<float>({1, 2, 3});
  }
  write_grid_pack(plan_.pack, tasks);
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }), HasSubstr("is of the kind regress"));
  write_tiny_pack(plan_.pack);
  plan_.tasks = {"bars"};
  EXPECT_THAT(refusal_of([&] { check_tasks(plan_); }),
              HasSubstr("the recipe text_grid trains on tokens, but task 'bars'"));
}

}  // namespace
}  // namespace fusegrid::test
