#include "zoo/zoo.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "models/architecture.h"
#include "store/task_pack.h"
#include "support.h"
#include "zoo/bindings.h"
#include "zoo/examples.h"
#include "zoo/pack_digest.h"

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
  std::string load_error(const std::vector<std::string>& experts) const {
    try {
      const Zoo zoo = Zoo::load(folder_);
      load_replicate(zoo, zoo.replicate(0), experts, true, at::kCPU);
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
  const LoadedReplicate loaded = load_replicate(zoo, zoo.replicate(0), zoo.expert_names(), true, at::kCPU);

  EXPECT_EQ(zoo.tasks, (std::vector<std::string>{"bars", "rows"}));
  EXPECT_EQ(zoo.expert_names(), zoo.tasks);
  EXPECT_EQ(models_of(zoo.replicates[0]),
            (std::vector<std::string>{"base", "expert/bars", "expert/rows", "multitask"}));
  EXPECT_EQ(loaded.experts.size(), 2U);
  EXPECT_TRUE(loaded.multitask.has_value());
  EXPECT_EQ(loaded.network.readouts.size(), 2U);
  EXPECT_EQ(loaded.base.size(), loaded.network.architecture->parameters().size());
  EXPECT_EQ(zoo.replicates[0].digests.at("expert/rows"), digest(loaded.experts.at("rows")));
  const Split split = TaskPack(zoo.pack).read("rows", "test");
  const Answers again = evaluate(loaded.network, loaded.experts.at("rows"), "rows", task_kind("classify"),
                                 examples_of(split, nullptr, at::kCPU));
  EXPECT_EQ(again.metrics.at("accuracy"), zoo.replicates[0].scores.at("rows/rows/test/accuracy"));
  EXPECT_THAT(verify(zoo), IsEmpty());
}

TEST(RecordedScores, AreFoundBelowAPrefix) {
  const std::map<std::string, double> scores{
      {"a/bars/val/accuracy", 1}, {"a/bars/val/loss", 2}, {"ab/bars/val/loss", 3}, {"b/bars/val/loss", 4}};
  EXPECT_EQ(scores_below(scores, "a/bars/val/"),
            (std::map<std::string, double>{{"accuracy", 1}, {"loss", 2}}));
  EXPECT_THAT(scores_below(scores, "c/"), IsEmpty());
}

TEST_F(ZooFolder, SavesWhatItLoaded) {
  const Zoo zoo = Zoo::load(folder_);
  const json before = description();
  zoo.save();
  EXPECT_EQ(description(), before);
}

TEST_F(ZooFolder, AMissingExpertFolderIsNamed) {
  fs::remove_all(folder_ / "seed-0/experts/rows");
  EXPECT_THAT(load_error({"bars"}), HasSubstr("the expert 'rows' is not there"));
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

// Whatever the order in which threads find out.
TEST_F(ZooFolder, OfSeveralBrokenModelsTheFirstIsNamed) {
  for (const std::string model : {"experts/bars", "experts/rows", "multitask"}) {
    rewrite(model, [](Weights& weights) { weights[kFirstWeight][0][0] = std::nan(""); });
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(load_error({"rows", "bars"}), HasSubstr("seed-0/experts/rows"));
    EXPECT_THAT(load_error({"bars", "rows"}), HasSubstr("seed-0/experts/bars"));
  }
  const auto problems = verify(Zoo::load(folder_));
  ASSERT_EQ(problems.size(), 3U);
  EXPECT_THAT(problems[0], HasSubstr("experts/bars"));
  EXPECT_THAT(problems[1], HasSubstr("experts/rows"));
  EXPECT_THAT(problems[2], HasSubstr("multitask"));
}

TEST_F(ZooFolder, ModelsThatAreReadSideBySideAreThoseReadAlone) {
  const Zoo zoo = Zoo::load(folder_);
  const Replicate& replicate = zoo.replicate(0);
  const Network network = load_network(zoo, replicate, at::kCPU);
  const std::vector<std::string> names{"expert/rows", "base", "multitask", "expert/bars"};
  const auto together = load_models(*network.architecture, zoo, replicate, names, at::kCPU);
  ASSERT_EQ(together.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    const Weights alone =
        load_weights(*network.architecture, model_folder(zoo, replicate, names[i]), at::kCPU);
    EXPECT_EQ(digest(together[i].weights), digest(alone)) << names[i];
    EXPECT_EQ(together[i].digest, replicate.digests.at(names[i]));
  }
}

// A record of the pack's digest convinces whoever starts a run, not who asks for a check.
TEST_F(ZooFolder, VerifyingReadsThePackAgain) {
  json written = description();
  written["pack"] = "pack.h5";
  describe(written);
  write_tiny_pack(folder_ / "pack.h5");
  Zoo zoo = Zoo::load(folder_);
  EXPECT_THAT(verify(zoo), IsEmpty());
  write_tiny_pack(folder_ / "pack.h5", 21);
  std::ofstream(pack_record(zoo)) << json(SeenPack{pack_stamp(zoo.pack), zoo.pack_sha256});
  EXPECT_EQ(pack_digest(zoo), zoo.pack_sha256);
  EXPECT_THAT(verify(zoo), Contains(HasSubstr("is not the one that the zoo was made with")));
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
              AllOf(HasSubstr("rows': layer_norm_eps must be"), HasSubstr("but it is 0.25")));
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
                  "the models read images, but the inputs of task 'bars' are tokens; use a task pack")));
}

TEST(Readable, AnswersOfDecodersTakePositionsBehindTheirInputs) {
  TaskInfo task;
  task.name = "a";
  task.kind = "generate";
  task.longest_row = 11;
  task.attributes = {{"longest_answer", 6}};
  const auto refusal = [&](int64_t positions, bool with_answer) -> std::string {
    try {
      check_readable(task, {.vocabulary = 24, .positions = positions, .with_answer = with_answer});
      return "";
    } catch (const ConfigError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(refusal(16, true), "") << "the last token of an answer is never read";
  EXPECT_EQ(
      refusal(15, true),
      "the models take rows of at most 15 tokens, answers included, but those of task 'a' have up to 17, of "
      "which the last is not read; make a task pack with shorter rows or answers");
  EXPECT_EQ(refusal(11, false), "") << "of an encoder-decoder, whose answers are rows of their own";
  EXPECT_THAT(refusal(10, true), HasSubstr("at most 10 tokens, but the inputs of task 'a' are up to 11;"));
  task.kind = "classify";
  task.attributes.clear();
  EXPECT_EQ(refusal(11, true), "") << "a task without answers";
  task.kind = "multiple_choice";
  task.longest_with_choice = 14;
  EXPECT_EQ(refusal(13, true), "");
  EXPECT_THAT(refusal(12, true), HasSubstr("those of task 'a' have up to 14, of which the last is not read"));
}

TEST_F(ZooFolder, BindingsNameEveryInputAndFollowIt) {
  const Zoo zoo = Zoo::load(folder_);
  const auto before = replicate_bindings(zoo, zoo.replicate(0));
  std::vector<std::string> keys;
  for (const auto& [key, value] : before) {
    keys.push_back(key);
  }
  const std::string place = zoo.name + "/0/";
  EXPECT_THAT(keys,
              testing::UnorderedElementsAre(place + "base", place + "classes/bars", place + "classes/rows",
                                            place + "config", place + "expert/bars", place + "expert/rows",
                                            place + "heads/bars", place + "heads/rows", place + "multitask"));
  EXPECT_EQ(before.at(place + "classes/bars"), "all");
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

TEST_F(ZooFolder, NamesThatNoFileCanHaveAreOfFilesThatAreMissing) {
  const std::string too_long(300, 'a');
  const json whole = description();
  json written = whole;
  written["replicates"][0]["experts"]["bars"] = too_long;
  describe(written);
  EXPECT_THAT(message_of<ConfigError>([&] { Zoo::load(folder_); }), HasSubstr(too_long + "' does not exist"));
  written = whole;
  written["pack"] = too_long;
  describe(written);
  Zoo::load(folder_);  // the pack is missed where it is read
  EXPECT_THAT(message_of<ConfigError>([&] { find_zoo(too_long); }), HasSubstr("there is no zoo"));
}

TEST_F(ZooFolder, DamagedDescriptionsAreErrors) {
  for (const char* field : {"format", "version", "tasks", "experts", "replicates", "pack_sha256"}) {
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
  EXPECT_EQ(zoo.experts_called("1"), (std::vector<std::string>{"bars"}));
  EXPECT_EQ(zoo.experts_called("rows+bars"), (std::vector<std::string>{"rows", "bars"}));
  for (const char* text : {"0", "3", "", "rows+rows", "row", "rows+", "-1"}) {
    EXPECT_THROW(zoo.experts_called(text), ConfigError) << text;
  }
}

// Of three tasks "wide" owns two and "none" owns none; nobody owns "stripes".
TEST_F(ZooFolder, ExpertsAreApartFromTasks) {
  json written = description();
  written["tasks"] = {"bars", "rows", "stripes"};
  written["experts"] =
      json::parse(R"([{"name": "none", "tasks": []}, {"name": "wide", "tasks": ["rows", "bars"]}])");
  written["pooling"] = "mean";
  written["tokenizer_sha256"] = "ab";
  json& replicate = written["replicates"][0];
  replicate["experts"] = {{"none", "seed-0/experts/bars"}, {"wide", "seed-0/experts/rows"}};
  replicate["multitask_heads"] = "seed-0/heads.safetensors";
  replicate["scores"] = {{"wide/rows/test/accuracy", 0.5}};
  describe(written);

  const Zoo zoo = Zoo::load(folder_);
  EXPECT_EQ(zoo.expert_names(), (std::vector<std::string>{"none", "wide"}));
  EXPECT_EQ(zoo.experts_called("1"), std::vector<std::string>{"none"});
  EXPECT_EQ(zoo.owners({"wide"}), (std::map<std::string, std::string>{{"bars", "wide"}, {"rows", "wide"}}));
  EXPECT_EQ(zoo.tasks_of({"none", "wide"}), (std::vector<std::string>{"bars", "rows"}))
      << "in the zoo's order";
  EXPECT_TRUE(zoo.tasks_of({"none"}).empty());
  EXPECT_EQ(model_folder(zoo, zoo.replicates[0], "expert/none"), zoo.folder / "seed-0/experts/bars");
  EXPECT_EQ(zoo.pooling, Pooling::kMean);
  zoo.save();
  EXPECT_EQ(description(), written);
}

TEST_F(ZooFolder, ATaskThatSeveralExpertsWereMadeForHasNoOwner) {
  json written = description();
  written["experts"] =
      json::parse(R"([{"name": "bars", "tasks": ["bars", "rows"]}, {"name": "rows", "tasks": ["bars"]}])");
  describe(written);

  const Zoo zoo = Zoo::load(folder_);
  EXPECT_EQ(zoo.experts_for("bars"), (std::vector<std::string>{"bars", "rows"}));
  EXPECT_EQ(zoo.tasks_of({"rows"}), std::vector<std::string>{"bars"});
  EXPECT_EQ(zoo.owners({"bars", "rows"}), (std::map<std::string, std::string>{{"rows", "bars"}}));
  EXPECT_TRUE(zoo.owners({"rows"}).empty()) << "alone it is no more its owner than among others";
}

TEST_F(ZooFolder, ExpertsMayHaveNoBaseInCommon) {
  json written = description();
  written["replicates"][0].erase("base");
  written["replicates"][0]["digests"].erase("base");
  describe(written);

  const Zoo zoo = Zoo::load(folder_);
  const Replicate& replicate = zoo.replicates[0];
  EXPECT_EQ(replicate.layout(), zoo.folder / "seed-0/experts/bars");
  EXPECT_THAT(models_of(replicate), testing::Not(testing::Contains("base")));
  EXPECT_THAT(message_of<ConfigError>([&] { model_folder(zoo, replicate, "base"); }),
              HasSubstr("have no base in common"));
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  const LoadedReplicate loaded = load_replicate(zoo, replicate, {"rows", "bars"}, false, at::kCPU);
  EXPECT_TRUE(loaded.base.empty());
  EXPECT_EQ(loaded.experts.size(), 2U);
  zoo.save();
  EXPECT_EQ(description(), written);
}

TEST_F(ZooFolder, ExpertsThatContradictThemselvesAreErrors) {
  const auto complaint = [&](const char* experts) {
    json written = description();
    written["experts"] = json::parse(experts);
    describe(written);
    return error_of([&] { Zoo::load(folder_); });
  };
  EXPECT_THAT(complaint(R"([{"name": "bars", "tasks": ["bars", "bars"]}, {"name": "rows", "tasks": []}])"),
              HasSubstr("task 'bars' of expert 'bars' is there twice"));
  EXPECT_THAT(complaint(R"([{"name": "bars", "tasks": ["bars"]}, {"name": "rows", "tasks": ["row"]}])"),
              HasSubstr("the tasks of expert 'rows' must be among the zoo's, bars, rows, but one is 'row'"));
  EXPECT_THAT(complaint(R"([{"name": "bars", "tasks": []}, {"name": "bars", "tasks": []}])"),
              HasSubstr("expert 'bars' is there twice"));
  EXPECT_THAT(complaint(R"([{"name": "bars", "tasks": []}])"),
              HasSubstr("the model 'rows' of seed 0 must be of one of the zoo's experts: bars"));
  EXPECT_THAT(complaint(R"([{"name": "a+b", "tasks": []}])"), HasSubstr("the name of an expert must have"));
  EXPECT_THAT(complaint(R"([{"name": "bars"}])"), HasSubstr("tasks"));
}

TEST_F(ZooFolder, ExpertsMayHaveSeenSomeClassesAlone) {
  json written = description();
  written["experts"] = json::parse(
      R"([{"name": "bars", "tasks": ["bars"]},
          {"name": "rows", "tasks": ["bars", "rows"], "classes": {"bars": ["c", "a"]}}])");
  describe(written);
  const Zoo zoo = Zoo::load(folder_);
  const auto bindings = replicate_bindings(zoo, zoo.replicate(0));
  EXPECT_EQ(bindings.at(zoo.name + "/0/classes/bars"), "all");
  EXPECT_NE(bindings.at(zoo.name + "/0/classes/rows"), "all");
  const TaskPack pack(zoo.pack);
  EXPECT_EQ(labels_seen(zoo.expert("bars"), pack.task("bars")), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(labels_seen(zoo.expert("rows"), pack.task("bars")), (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(labels_seen(zoo.expert("rows"), pack.task("rows")), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(verify(zoo), std::vector<std::string>());
  zoo.save();
  EXPECT_EQ(description(), written);
}

TEST_F(ZooFolder, ClassesThatATaskHasNotAreFound) {
  const auto complaint = [&](const char* classes) {
    json written = description();
    written["experts"][0]["classes"] = json::parse(classes);
    describe(written);
    return error_of([&] {
      const auto problems = verify(Zoo::load(folder_));
      throw ConfigError(problems.empty() ? "(sound)" : problems.front());
    });
  };
  EXPECT_THAT(complaint(R"({"bars": ["a", "x"]})"), HasSubstr("to have seen the class 'x' of task 'bars'"));
  EXPECT_THAT(complaint(R"({"bars": []})"),
              HasSubstr("must be one or more, each named once, but they are ''"));
  EXPECT_THAT(complaint(R"({"bars": ["a", "a"]})"), HasSubstr("but they are 'a', 'a'"));
  EXPECT_THAT(complaint(R"({"stripes": ["a"]})"), HasSubstr("must be among the zoo's, bars, rows"));
}

TEST_F(ZooFolder, ATaskThatIsListedTwiceIsAnError) {
  json written = description();
  written["tasks"] = {"bars", "rows", "bars"};
  describe(written);
  EXPECT_THAT(message_of<DataError>([&] { Zoo::load(folder_); }), HasSubstr("task 'bars' is there twice"));
}

TEST_F(ZooFolder, AnUnknownPoolingIsAnError) {
  json written = description();
  written["pooling"] = "middle";
  describe(written);
  EXPECT_THAT(message_of<DataError>([&] { Zoo::load(folder_); }),
              HasSubstr("the pooling must be one of first, last, mean, none, but it is 'middle'"));
}

TEST_F(ZooFolder, ADescriptionOfTheFirstVersionSaysWhatToDo) {
  json written = description();
  written["version"] = 1;
  describe(written);
  EXPECT_THAT(message_of<DataError>([&] { Zoo::load(folder_); }),
              AllOf(HasSubstr("and 2, but are \"fusegrid-zoo\" and 1"), HasSubstr("delete the file"),
                    HasSubstr("zoo build")));
}

// Heads of a base whose features have 8 columns.
class AffineHeads : public ZooFolder {
 protected:
  // What load_readouts() makes of a file with these tensors.
  std::map<std::string, std::shared_ptr<const Readout>> read(const Weights& tensors, Pooling pooling) const {
    write_safetensors(folder_ / "affine.safetensors", tensors);
    return load_readouts(folder_ / "seed-0/base", folder_ / "affine.safetensors", {"bars"}, pooling,
                         at::kCPU);
  }
  std::string refusal(const Weights& tensors, Pooling pooling = Pooling::kFirst) const {
    return error_of([&] { read(tensors, pooling); });
  }
};

TEST_F(AffineHeads, AreReadAsTheyStand) {
  const at::Tensor weight = normal(1, 0, 0, 3 * 8).view({3, 8});
  const at::Tensor bias = normal(2, 0, 0, 3);
  const at::Tensor x = normal(3, 0, 0, 2 * 8).view({2, 8});
  const auto readout = read({{"bars.weight", weight}, {"bars.bias", bias}}, Pooling::kMean).at("bars");
  EXPECT_EQ(readout->pooling(), Pooling::kMean);
  EXPECT_EQ(readout->outputs(), 3);
  EXPECT_TRUE(at::allclose((*readout)({}, x), at::matmul(x, weight.t()) + bias, 1e-5, 1e-6));
  const auto without = read({{"bars.weight", weight}}, Pooling::kFirst).at("bars");
  EXPECT_TRUE(at::allclose((*without)({}, x), at::matmul(x, weight.t()), 1e-5, 1e-6));
}

TEST_F(AffineHeads, AreTakenOutWithTheirHiddenLayers) {
  write_safetensors(folder_ / "affine.safetensors", {{"bars.weight", at::ones({3, 8})},
                                                     {"bars.bias", at::ones({3})},
                                                     {"bars.hidden.weight", at::ones({8, 8})},
                                                     {"bars.hidden.bias", at::ones({8})},
                                                     {"rows.weight", at::ones({3, 8})}});
  std::vector<std::string> names;
  for (const auto& [name, unused] : heads_of(folder_ / "affine.safetensors", {"bars"})) {
    names.push_back(name);
  }
  EXPECT_THAT(names,
              testing::ElementsAre("bars.bias", "bars.hidden.bias", "bars.hidden.weight", "bars.weight"));
}

TEST_F(AffineHeads, OfOtherShapesAreNamed) {
  EXPECT_THAT(refusal({{"bars.weight", at::ones({3, 7})}, {"bars.bias", at::ones({3})}}),
              AllOf(HasSubstr("head of task 'bars' must have the shape [classes, 8]"), HasSubstr("[3, 7]")));
  EXPECT_THAT(refusal({{"bars.weight", at::ones({3, 8})}, {"bars.bias", at::ones({4})}}),
              HasSubstr("head of task 'bars' must have a bias of shape [3], but it has [4]"));
}

TEST_F(AffineHeads, ThatAreMissingAreNamed) {
  EXPECT_THAT(
      refusal({{"rows.weight", at::ones({3, 8})}}),
      AllOf(HasSubstr("head of task 'bars' is missing"), HasSubstr("bars.rows [classes, embedding size]"),
            HasSubstr("bars.weight [classes, 8] and bars.bias [classes]")));
}

TEST_F(AffineHeads, DecodersReadMaps) {
  EXPECT_THAT(
      refusal({{"bars.conv.weight", at::ones({2, 8, 3, 3})}, {"bars.weight", at::ones({3, 2})}},
              Pooling::kNone),
      AllOf(HasSubstr("head of task 'bars' is a decoder, which reads a map, but models of the architecture"),
            HasSubstr("make none")));
}

TEST_F(AffineHeads, WithNanAreErrors) {
  at::Tensor weight = at::ones({3, 8});
  weight[1][2] = std::nan("");
  EXPECT_THAT(refusal({{"bars.weight", weight}}), AllOf(HasSubstr("bars.weight"), HasSubstr("nan")));
  EXPECT_THAT(refusal({{"bars.weight", at::ones({3, 8})}, {"bars.bias", at::full({3}, std::nan(""))}}),
              AllOf(HasSubstr("bars.bias"), HasSubstr("nan")));
}

TEST_F(AffineHeads, CosineHeadsReadTheFirstTokenAlone) {
  const Weights cosine{{"bars.rows", at::eye(8).narrow(0, 0, 3)}, {"logit_scale", at::zeros({})}};
  EXPECT_EQ(read(cosine, Pooling::kFirst).at("bars")->pooling(), Pooling::kFirst);
  EXPECT_THAT(refusal(cosine, Pooling::kMean), AllOf(HasSubstr("head of task 'bars' reads the first token"),
                                                     HasSubstr("pooling of the zoo is mean")));
}

TEST_F(ZooFolder, HeadsOfTheMultitaskModelAnswerAsTheZoosDo) {
  json written = description();
  written["replicates"][0]["multitask_heads"] = "heads.safetensors";
  describe(written);
  write_safetensors(folder_ / "heads.safetensors",
                    {{"bars.weight", at::ones({3, 8})}, {"rows.weight", at::ones({3, 8})}});
  EXPECT_THAT(verify(Zoo::load(folder_)), IsEmpty());
  write_safetensors(folder_ / "heads.safetensors",
                    {{"bars.weight", at::ones({3, 8})}, {"rows.weight", at::ones({4, 8})}});
  EXPECT_THAT(verify(Zoo::load(folder_)),
              testing::ElementsAre(
                  HasSubstr("head of task 'rows' must have 3 outputs, as the zoo's has, but it has 4")));
}

TEST_F(ZooFolder, BindingsNameHeadsOfTheMultitaskModel) {
  json written = description();
  const std::string place = "embedded-tiny/0/";
  const auto bindings = [&] {
    describe(written);
    const Zoo zoo = Zoo::load(folder_);
    return replicate_bindings(zoo, zoo.replicate(0));
  };
  auto before = bindings();
  written["replicates"][0]["multitask_heads"] = "seed-0/heads.safetensors";
  const auto with_heads = bindings();
  EXPECT_EQ(with_heads.at(place + "multitask_heads/rows"), before.at(place + "heads/rows"));
  written["replicates"][0]["multitask_heads"] = "heads.safetensors";
  write_safetensors(folder_ / "heads.safetensors",
                    {{"bars.weight", at::ones({3, 8})}, {"rows.weight", at::ones({3, 8})}});
  EXPECT_NE(bindings().at(place + "multitask_heads/rows"), before.at(place + "heads/rows"));
  written["replicates"][0]["multitask_heads"] = "elsewhere.safetensors";
  describe(written);
  EXPECT_THAT(error_of([&] { Zoo::load(folder_); }), HasSubstr("the heads of the multitask model"));
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

TEST_F(ZooImport, MayHaveTasksWithoutAnExpert) {
  ImportRequest unseen = request();
  unseen.experts[1].second = "";
  import_zoo(unseen);
  const Zoo loaded = Zoo::load(copy_.path() / "mine");
  EXPECT_EQ(loaded.tasks, (std::vector<std::string>{"rows", "bars"}));
  ASSERT_EQ(loaded.experts.size(), 1U);
  EXPECT_EQ(loaded.experts[0].name, "rows");
  EXPECT_THAT(verify(loaded), IsEmpty());
  unseen.experts.emplace_back("rows", "");
  unseen.replace = true;
  EXPECT_THROW(import_zoo(unseen), ConfigError) << "a task twice";
}

TEST_F(ZooImport, ReadsHeadsWithALayerOfTheirOwn) {
  const int64_t width = make_architecture(HfFolder(request().base).config())->feature_size();
  Weights heads;
  for (const auto* task : {"rows", "bars"}) {
    const std::string name = task;
    const int64_t classes = TaskPack(plan_->pack).task(name).attributes.at("classes").size();
    heads[name + ".hidden.weight"] = at::ones({5, width});
    heads[name + ".weight"] = at::ones({classes, 5});
  }
  ImportRequest layered = request();
  layered.heads = copy_.path() / "layered.safetensors";
  write_safetensors(layered.heads, heads);
  const Zoo zoo = import_zoo(layered);
  EXPECT_THAT(verify(zoo), IsEmpty());
  heads["rows.hidden.weight"] = at::ones({5, width + 1});
  write_safetensors(layered.heads, heads);
  layered.replace = true;
  EXPECT_THAT(message_of<ConfigError>([&] { import_zoo(layered); }),
              HasSubstr("hidden.weight must have the shape"));
  heads["rows.hidden.weight"] = at::ones({5, width});
  heads["rows.hidden.bias"] = at::ones({4});
  write_safetensors(layered.heads, heads);
  EXPECT_THAT(message_of<ConfigError>([&] { import_zoo(layered); }),
              HasSubstr("hidden must have a bias of shape [5]"));
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

TEST_F(ZooFolder, AKeyThatItsDescriptionHasTwiceIsRefused) {
  std::string text = description().dump();
  const std::string key = "\"experts\":{\"bars\":";
  ASSERT_NE(text.find(key), std::string::npos);
  text.insert(text.find(key) + key.size() - 7, "\"bars\":\"elsewhere\",");
  std::ofstream(folder_ / "zoo.json") << text;
  EXPECT_THAT(load_error({}), HasSubstr("must have each key once, but has 'bars' twice"));
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
