#include "zoo/zoo.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "core/errors.h"
#include "models/settings.h"
#include "support.h"
#include "zoo/bindings.h"

namespace fusegrid::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

// One tiny zoo for all tests, copied by each that damages it.
class ZooFolder : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    world_ = new TemporaryFolder;
    plan_ = new ZooPlan(tiny_plan(world_->path()));
    make_tiny_zoo(*plan_);
  }
  static void TearDownTestSuite() {
    delete plan_;
    delete world_;
  }
  ZooFolder() { fs::copy(plan_->folder, folder_, fs::copy_options::recursive); }

  json description() const { return json::parse(std::ifstream(folder_ / "zoo.json")); }
  void describe(const json& written) const { write_text(folder_ / "zoo.json", written.dump()); }
  // Replaces the weights of a model.
  void rewrite(const std::string& model, const std::function<void(Weights&)>& change) const {
    const HfFolder folder(folder_ / "seed-0" / model);
    Weights weights = folder.read_all();
    change(weights);
    fs::remove_all(folder_ / "seed-0" / model);
    save_hf_folder(folder_ / "seed-0" / model, weights, folder.config());
  }
  std::string load_error(const std::vector<std::string>& tasks) const {
    try {
      const Zoo zoo = Zoo::load(folder_);
      load_replicate(zoo, zoo.replicate(0), tasks, true, at::kCPU);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline ZooPlan* plan_ = nullptr;
  TemporaryFolder copy_;
  fs::path folder_ = copy_.path() / "embedded-tiny";
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

const std::string kFirstWeight = "vision_model.encoder.layers.0.mlp.fc1.weight";

TEST_F(ZooFolder, LoadsWhatWasBuilt) {
  const Zoo zoo = Zoo::load(folder_);
  const LoadedReplicate loaded = load_replicate(zoo, zoo.replicate(0), zoo.tasks, true, at::kCPU);

  EXPECT_EQ(zoo.tasks, (std::vector<std::string>{"bars", "rows"}));
  EXPECT_EQ(loaded.experts.size(), 2U);
  EXPECT_TRUE(loaded.multitask.has_value());
  EXPECT_EQ(loaded.network.heads.size(), 2U);
  EXPECT_EQ(loaded.base.size(), loaded.network.architecture->parameters().size());
  EXPECT_EQ(zoo.replicates[0].digests.at("expert/rows"), digest(loaded.experts.at("rows")));
  const Answers again =
      evaluate(loaded.network, loaded.experts.at("rows"), "rows", TaskPack(zoo.pack).read("rows", "test"));
  EXPECT_EQ(again.accuracy, zoo.replicates[0].scores.at("rows/test"));
  EXPECT_THAT(verify(zoo), IsEmpty());
}

TEST_F(ZooFolder, SavesWhatItLoaded) {
  const Zoo zoo = Zoo::load(folder_);
  const json before = description();
  zoo.save();
  EXPECT_EQ(description(), before);
}

TEST_F(ZooFolder, AMissingExpertFolderIsNamed) {
  fs::remove_all(folder_ / "seed-0/experts/rows");
  EXPECT_THAT(load_error({"bars"}), HasSubstr("the expert of task 'rows' is not there"));
}

TEST_F(ZooFolder, WrongShapesAreNamed) {
  rewrite("experts/rows", [](Weights& weights) { weights[kFirstWeight] = weights[kFirstWeight].t(); });
  EXPECT_THAT(load_error({"rows"}), HasSubstr(kFirstWeight));
  EXPECT_THAT(load_error({"rows"}), HasSubstr("[8, 32]"));
}

TEST_F(ZooFolder, MissingTensorsAreNamed) {
  rewrite("experts/rows", [](Weights& weights) { weights.erase(kFirstWeight); });
  EXPECT_THAT(load_error({"rows"}), HasSubstr(kFirstWeight + " is missing"));
}

TEST_F(ZooFolder, NanInAnExpertIsAnError) {
  rewrite("experts/rows", [](Weights& weights) { weights[kFirstWeight][0][0] = std::nan(""); });
  EXPECT_THAT(load_error({"rows"}), HasSubstr("nan"));
  EXPECT_EQ(load_error({"bars"}), "");
}

TEST_F(ZooFolder, AnotherModelThanTheRecordedOneIsAnError) {
  rewrite("experts/rows", [](Weights& weights) { weights[kFirstWeight][0][0] += 1; });
  EXPECT_THAT(load_error({"rows"}),
              HasSubstr("'expert/rows' of seed 0 is not the one that zoo.json recorded"));
  const auto problems = verify(Zoo::load(folder_));
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0], HasSubstr("expert/rows"));
}

// Equal shapes are not enough: with other heads or another activation the same weights are another function.
TEST_F(ZooFolder, AnExpertOfAnotherConfigurationIsNamed) {
  const fs::path config = folder_ / "seed-0/experts/rows/config.json";
  ASSERT_TRUE(fs::exists(config));
  json changed = json::parse(std::ifstream(config));
  changed["layer_norm_eps"] = 0.25;
  write_text(config, changed.dump());
  const Zoo zoo = Zoo::load(folder_);
  EXPECT_THAT(error_of([&] { check_layouts(zoo, zoo.replicate(0)); }),
              AllOf(HasSubstr("rows/config.json': layer_norm_eps must be"), HasSubstr("but it is 0.25")));
  EXPECT_THAT(verify(zoo), Contains(HasSubstr("layer_norm_eps")));
  changed.erase("layer_norm_eps");  // the default, as the base's if that has it
  write_text(config, changed.dump());
  EXPECT_EQ(architecture_settings(changed)["layer_norm_eps"], 1e-5);
}

TEST_F(ZooFolder, APackOfOtherInputsIsNamed) {
  json written = description();
  written["pack"] = "pack.h5";
  written["pack_sha256"] = "";
  describe(written);
  write_tiny_pack(folder_ / "pack.h5");
  EXPECT_THAT(verify(Zoo::load(folder_)), IsEmpty());
  write_text_pack(folder_ / "pack.h5");
  EXPECT_THAT(verify(Zoo::load(folder_)),
              Contains(HasSubstr(
                  "the models classify images of 8 x 8 pixels, but task 'bars' of the pack is of the kind "
                  "classify with tokens")));
}

TEST_F(ZooFolder, BindingsNameEveryInputAndFollowIt) {
  const Zoo zoo = Zoo::load(folder_);
  const auto before = replicate_bindings(zoo, zoo.replicate(0));
  std::vector<std::string> keys;
  for (const auto& [key, value] : before) {
    keys.push_back(key);
  }
  const std::string place = zoo.name + "/0/";
  EXPECT_THAT(keys, testing::UnorderedElementsAre(place + "base", place + "config", place + "expert/bars",
                                                  place + "expert/rows", place + "heads/bars",
                                                  place + "heads/rows", place + "multitask"));
  EXPECT_EQ(before.at(place + "base"), zoo.replicate(0).digests.at("base"));

  // Without a recorded digest the model is read.
  json written = description();
  written["replicates"][0]["digests"] = json::object();
  describe(written);
  const Zoo undigested = Zoo::load(folder_);
  EXPECT_EQ(replicate_bindings(undigested, undigested.replicate(0)), before);
  rewrite("experts/rows", [](Weights& weights) { weights.begin()->second += 1; });
  auto changed = replicate_bindings(undigested, undigested.replicate(0));
  EXPECT_NE(changed.at(place + "expert/rows"), before.at(place + "expert/rows"));
  EXPECT_THAT(error_of([&] { check_same_bindings(before, changed); }), HasSubstr(place + "expert/rows is "));
  changed[place + "expert/rows"] = before.at(place + "expert/rows");
  EXPECT_EQ(changed, before);
  check_same_bindings(before, {{"another zoo/0/base", "x"}});

  // The configuration of the base decides every cell.
  const fs::path config = folder_ / "seed-0/base/preprocessor_config.json";
  json normalisation = json::parse(std::ifstream(config));
  normalisation["image_mean"] = {0.1, 0.2, 0.3};
  write_text(config, normalisation.dump());
  EXPECT_NE(replicate_bindings(undigested, undigested.replicate(0)).at(place + "config"),
            before.at(place + "config"));
}

TEST_F(ZooFolder, UnknownTasksAreErrors) {
  EXPECT_THAT(load_error({"mnist"}), HasSubstr("no model 'expert/mnist' of seed 0"));
  json written = description();
  written["replicates"][0]["experts"]["mnist"] = "seed-0/experts/rows";
  describe(written);
  EXPECT_THROW(Zoo::load(folder_), DataError);
}

TEST_F(ZooFolder, DamagedDescriptionsAreErrors) {
  for (const char* field : {"format", "version", "tasks", "replicates", "pack_sha256"}) {
    json written = description();
    written.erase(field);
    describe(written);
    EXPECT_THROW(Zoo::load(folder_), DataError) << field;
  }
  write_text(folder_ / "zoo.json", "{\"format\":");
  EXPECT_THROW(Zoo::load(folder_), DataError);
  fs::remove(folder_ / "zoo.json");
  EXPECT_THROW(Zoo::load(folder_), ConfigError);
}

TEST_F(ZooFolder, ExpertsAreANumberOrNames) {
  const Zoo zoo = Zoo::load(folder_);
  EXPECT_EQ(zoo.experts("1"), (std::vector<std::string>{"bars"}));
  EXPECT_EQ(zoo.experts("rows+bars"), (std::vector<std::string>{"rows", "bars"}));
  for (const char* text : {"0", "3", "", "rows+rows", "row", "rows+", "-1"}) {
    EXPECT_THROW(zoo.experts(text), ConfigError) << text;
  }
}

TEST_F(ZooFolder, SeedsChooseReplicates) {
  Zoo zoo = Zoo::load(folder_);
  EXPECT_THAT(
      message_of<ConfigError>([&] { zoo.replicate(5); }),
      testing::AllOf(HasSubstr("trained with each seed of the job, but it has none of seed 5 (seeds: 0)"),
                     HasSubstr("--scale small --seeds 5 --out " + folder_.string())));
  zoo.replicates.push_back(zoo.replicates[0]);
  zoo.replicates[1].seed = 5;
  EXPECT_EQ(zoo.replicate(0).seed, 0);
  EXPECT_EQ(zoo.replicate(5).seed, 5);
  EXPECT_THROW(zoo.replicate(1), ConfigError);
}

TEST_F(ZooFolder, IsFoundByNameOrFolder) {
  ::setenv("FUSEGRID_ZOOS", copy_.path().c_str(), 1);
  EXPECT_EQ(find_zoo("embedded-tiny").folder, find_zoo(folder_.string()).folder);
  EXPECT_EQ(list_zoos(), (std::vector<std::string>{"embedded-tiny"}));
  try {
    find_zoo("embeded-tiny");
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'embedded-tiny'?"));
  }
  ::unsetenv("FUSEGRID_ZOOS");
}

class ZooImport : public ZooFolder {
 protected:
  ImportRequest request() const {
    const fs::path models = folder_ / "seed-0";
    return {.folder = copy_.path() / "mine",
            .scale = "tiny",
            .suite = "tiny",
            .base = models / "base",
            .experts = {{"rows", models / "experts/rows"}, {"bars", models / "experts/bars"}},
            .heads = models / "heads.safetensors",
            .pack = plan_->pack};
  }
};

TEST_F(ZooImport, DescribesFoldersWithoutCopying) {
  const Zoo zoo = import_zoo(request());

  const Zoo loaded = Zoo::load(copy_.path() / "mine");
  EXPECT_EQ(loaded.tasks, (std::vector<std::string>{"rows", "bars"}));
  EXPECT_EQ(loaded.replicates[0].experts, zoo.replicates[0].experts);
  EXPECT_EQ(loaded.replicates[0].digests.at("base"), Zoo::load(folder_).replicates[0].digests.at("base"));
  EXPECT_THAT(verify(loaded), IsEmpty());
  EXPECT_EQ(loaded.replicate(7).base, zoo.replicates[0].base) << "nobody knows the seeds of imported models";
}

TEST_F(ZooImport, ReplacesAZooOnlyWhereThatIsAskedFor) {
  import_zoo(request());
  ImportRequest again = request();
  std::swap(again.experts[0], again.experts[1]);
  EXPECT_THROW(import_zoo(again), ConfigError);
  EXPECT_EQ(Zoo::load(again.folder).tasks.front(), "rows");
  again.replace = true;
  import_zoo(again);
  EXPECT_EQ(Zoo::load(again.folder).tasks.front(), "bars");
}

TEST_F(ZooImport, RefusesNamesThatCannotStandInJobsPathsAndCells) {
  for (const auto* name : {"my zoo", "a@b", "a+b", ".hidden"}) {
    ImportRequest wrong = request();
    wrong.folder = copy_.path() / "deeper" / name;
    EXPECT_THROW(import_zoo(wrong), ConfigError) << name;
  }
  for (const auto* task : {"a b", "../rows", "a@b", "a+b", "3", "all", ""}) {
    ImportRequest wrong = request();
    wrong.experts[0].first = task;
    EXPECT_THROW(import_zoo(wrong), ConfigError) << task;
  }
  ImportRequest slash = request();
  slash.folder /= "";
  EXPECT_EQ(import_zoo(slash).name, "mine");
}

TEST_F(ZooFolder, NamesInItsDescriptionAreChecked) {
  json written = description();
  written["name"] = "../outside";
  describe(written);
  EXPECT_THAT(load_error({}), HasSubstr("zoo.json': the name of the zoo must have"));
  written["name"] = "tiny";
  written["tasks"] = {"bars", "rows/../../x"};
  describe(written);
  EXPECT_THAT(load_error({}), HasSubstr("zoo.json': the name of a task must have"));
}

}  // namespace
}  // namespace fusegrid::test
