#include "worker/external_merger.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "core/errors.h"
#include "worker/executor.h"
#include "worker/merge_maker.h"
#include "worker/tiny_zoos.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

// What begins every script: the folder that the request names.
constexpr auto kOut = R"sh(out=$(sed -n 's/^  "out": "\(.*\)",*$/\1/p' "$1"); )sh";

class ExternalMergerTest : public TinyZoos {
 protected:
  ExternalMergerTest() : zoos_({{"embedded-tiny", zoo_folder().string()}}, at::kCPU, {}) {}

  // The merge that a script of the shell makes.
  FusedModel run(const std::string& script, int64_t timeout_s = 60,
                 const std::map<std::string, std::string>& files = {}) {
    const ExternalRow row{.command = {.text = "sh -c ...",
                                      .words = {"sh", "-c", kOut + script, "sh", kRequestWord},
                                      .timeout_s = timeout_s,
                                      .files = files}};
    return merge(tiny_cell("external:mine"), row);
  }
  FusedModel merge(const Cell& cell, const ExternalRow& row) {
    ExternalMerger merger({{{cell.method, row}}, scratch()}, at::kCPU);
    return merger.merge(cell, zoos_.open(cell.zoo), [this] { ++ticks_; });
  }
  // Of a script that fails: nothing is left of it.
  std::string error_of(const std::string& script, int64_t timeout_s = 60) {
    const std::string message = message_of<DataError>([&] { run(script, timeout_s); });
    EXPECT_TRUE(fs::is_empty(scratch())) << script;
    return message;
  }
  fs::path scratch() const { return copy() / "scratch"; }
  std::string copied(const fs::path& model) const { return "cp -r '" + model.string() + "' \"$out\""; }
  // A copy of an expert with the tensor changed.
  template <typename Change>
  fs::path changed_model(const Change& change) const {
    const HfFolder expert(model("experts/bars"));
    Weights weights = expert.read_all();
    change(weights);
    save_hf_folder(copy() / "changed", weights, expert.config());
    return copy() / "changed";
  }

  ZooCache zoos_;
  int ticks_ = 0;
};

TEST_F(ExternalMergerTest, loads_what_the_command_wrote_and_removes_it) {
  const FusedModel made = run("sleep 0.3; " + copied(model("experts/bars")));
  OpenZoo& zoo = zoos_.open("embedded-tiny");
  const auto expert = zoo.models(0, {"expert/bars"}).front();
  EXPECT_EQ(digest(made.predictor->weights()), expert->digest);
  EXPECT_TRUE(fs::is_empty(scratch()));
  EXPECT_GT(ticks_, 8) << "it is alive all the while that the command runs";
  EXPECT_EQ(made.facts.at("command"), "sh -c ...");
  EXPECT_EQ(made.facts.at("read expert/bars"), expert->key);
  EXPECT_EQ(made.facts.count("read base") + made.facts.count("read expert/rows"), 2U);
}

TEST_F(ExternalMergerTest, tells_the_command_what_to_merge) {
  run("cp \"$1\" '" + (copy() / "seen.json").string() + "'; " + copied(model("base")));
  const auto seen = nlohmann::json::parse(read_text(copy() / "seen.json"));
  EXPECT_EQ(seen.at("version"), 1);
  EXPECT_EQ(seen.at("row"), "mine");
  EXPECT_EQ(seen.at("zoo"), "embedded-tiny");
  EXPECT_EQ(seen.at("seed"), 0);
  EXPECT_EQ(seen.at("threads"), 1);
  EXPECT_EQ(seen.at("base"), model("base").string());
  ASSERT_EQ(seen.at("experts").size(), 2U);
  EXPECT_EQ(seen.at("experts")[1], (nlohmann::json{{"name", "rows"},
                                                   {"folder", model("experts/rows").string()},
                                                   {"adapter", false},
                                                   {"tasks", {"rows"}}}));
}

TEST_F(ExternalMergerTest, a_command_that_fails_says_what_it_printed) {
  EXPECT_THAT(error_of("echo 'first line'; echo 'no such layer' >&2; exit 3"),
              AllOf(HasSubstr("[external:mine] ended with exit code 3"),
                    HasSubstr("it printed: first line | no such layer")));
  EXPECT_THAT(error_of("kill -SEGV $$"),
              AllOf(HasSubstr("ended by signal 11"), HasSubstr("printed nothing")));
}

TEST_F(ExternalMergerTest, a_command_that_hangs_is_killed_with_its_children) {
  const fs::path pid_file = copy() / "pid";
  EXPECT_THAT(error_of("echo waiting; (echo $$ >/dev/null; sleep 1000 & echo $! >'" + pid_file.string() +
                           "'; wait); exit 0",
                       1),
              AllOf(HasSubstr("must end within timeout_s = 1 s"), HasSubstr("it printed: waiting")));
  const int child = std::stoi(read_text(pid_file));
  for (int i = 0; i < 100 && kill(child, 0) == 0; ++i) {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string text;
    std::getline(stat, text);
    if (text.find(") Z") != std::string::npos) {
      return;  // dead, and waiting for init
    }
    usleep(10'000);
  }
  EXPECT_NE(kill(child, 0), 0) << "its child lives on";
}

TEST_F(ExternalMergerTest, what_is_no_model_of_the_zoo_is_refused) {
  const std::string must = "must write a model of the zoo's architecture to the folder 'out' of its request";
  EXPECT_THAT(error_of("true"), AllOf(HasSubstr(must), HasSubstr("it has written no folder there")));
  EXPECT_THAT(error_of("mkdir \"$out\""), AllOf(HasSubstr(must), HasSubstr("config.json")));
  const fs::path lacking = changed_model([](Weights& weights) { weights.erase(weights.begin()); });
  EXPECT_THAT(error_of(copied(lacking)), HasSubstr(must));
}

TEST_F(ExternalMergerTest, a_model_of_other_settings_is_refused) {
  const fs::path other = copy() / "other";
  fs::copy(model("experts/bars"), other);
  auto config = nlohmann::json::parse(read_text(other / "config.json"));
  config["num_attention_heads"] = 1;
  write_text(other / "config.json", config.dump());
  EXPECT_THAT(error_of(copied(other)), ContainsRegex("num_attention_heads must be 2.*but it is 1"));
}

TEST_F(ExternalMergerTest, a_model_with_nan_is_refused) {
  const fs::path broken = changed_model([](Weights& weights) {
    at::Tensor& tensor = weights.at("vision_model.post_layernorm.bias");
    tensor = tensor * std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_THAT(error_of(copied(broken)), HasSubstr("vision_model.post_layernorm.bias"));
}

TEST_F(ExternalMergerTest, what_changed_since_the_run_began_ends_it) {
  write_text(copy() / "script.py", "new");
  EXPECT_THROW(run(copied(model("base")), 60, {{(copy() / "script.py").string(), "digest of the old one"}}),
               InputError);
  fs::copy(changed_model([](Weights& weights) { weights.begin()->second.add_(1); }), model("experts/rows"),
           fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  EXPECT_THROW(run(copied(model("base"))), InputError) << "an expert of the zoo";
}

TEST_F(ExternalMergerTest, a_folder_is_that_of_the_seed_and_the_experts) {
  ExternalRow row{.path = (zoo_folder() / "seed-{seed}/experts/{experts}").string()};
  const Cell cell = tiny_cell("folder:theirs", "bars", "clean", 1, "embedded-tiny", "rows");
  const FusedModel made = merge(cell, row);
  const auto expert = zoos_.open("embedded-tiny").models(1, {"expert/rows"}).front();
  EXPECT_EQ(digest(made.predictor->weights()), expert->digest);
  row.digests[folder_of(row, cell).string()] = expert->digest;
  EXPECT_NO_THROW(merge(cell, row));
  row.digests[folder_of(row, cell).string()] = "digest of another";
  EXPECT_THROW(merge(cell, row), InputError);
}

TEST_F(ExternalMergerTest, cells_of_one_merge_run_the_command_once) {
  const ExternalRow row{.command = {.text = "c",
                                    .words = {"sh", "-c",
                                              kOut + ("echo run >>'" + (copy() / "runs").string() + "'; ") +
                                                  copied(model("base")),
                                              "sh", kRequestWord}}};
  MergeMaker maker({.external = {{{"external:mine", row}}, scratch()}}, at::kCPU);
  for (const std::string task : {"bars", "rows"}) {
    const Cell cell = tiny_cell("external:mine", task);
    EXPECT_EQ(maker.of(cell, zoos_.open(cell.zoo), [] {}).name,
              "embedded-tiny/experts=2/external:mine/seed=0");
  }
  EXPECT_EQ(read_text(copy() / "runs"), "run\n");
}

}  // namespace
}  // namespace fusegrid
