#include <fstream>
#include <functional>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"
#include "checkpoint/lora_expert.h"
#include "checkpoint/lora_folder.h"
#include "checkpoint/peft_golden.h"
#include "checkpoint/read_all.h"
#include "checkpoint/safetensors_writer.h"
#include "cli/invoke.h"
#include "core/digest.h"
#include "core/philox.h"
#include "store/result_store.h"
#include "support/small_models.h"
#include "support/source_folder.h"
#include "zoo/support.h"

namespace fusegrid::export_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

json read_json(const fs::path& file) {
  return json::parse(std::ifstream(file));
}

std::set<std::string> names_of(const Weights& weights) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : weights) {
    names.insert(name);
  }
  return names;
}

std::string digest_of(const fs::path& model) {
  const HfFolder folder(model);
  return digest(read_parameters(*make_architecture(folder.config()), folder));
}

Ran run_job(const fs::path& job, const std::string& text, const fs::path& results) {
  write_text(job, text);
  return invoke({"run", job.string(), "--results", results.string(), "--inline", "--quiet"});
}

// The tiny zoo and a run on it, which all tests read; those that change something copy it.
class Export : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);  // as an executor does
    world_ = new TemporaryFolder;
    zoo_ = new Zoo(test::make_tiny_zoo(test::tiny_plan(world_->path())));
    const Ran ran = run_job(*world_ / "job.cfg",
                            "zoo = " + zoo_->folder.string() +
                                "\ndevice = cpu\nshift = clean contrast-5\n[simple_average]\n"
                                "[task_arithmetic]\nscale = 0.3 0.5\n[regmean]\n[layer_wise_adamerging]\n"
                                "steps = 3\n[individual]\n[emr]\n[multitask]\n[simple_ensemble]\n[wemoe]\n"
                                "steps = 2\n",
                            *world_ / "results");
    ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  }
  static void TearDownTestSuite() {
    delete zoo_;
    delete world_;
  }

  static std::string merge(const std::string& method) {
    return "embedded-tiny/experts=2/" + method + "/seed=0";
  }
  static std::string cell(const std::string& method, const std::string& task = "bars@clean") {
    return merge(method) + "/" + task;
  }
  Ran run(const std::string& name, std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"export", results_.string(), name, "--out", out_.string()};
    words.insert(words.end(), more.begin(), more.end());
    return invoke(words);
  }
  Result recorded(const std::string& cell) const { return ResultStore::read(results_)->results().at(cell); }
  // In a copy of the results.
  void record(const std::function<void(ResultStore& store)>& change) {
    const RunInfo newest = ResultStore::read(results_)->runs().back();
    results_ = folder_ / "results";
    fs::copy(*world_ / "results", results_, fs::copy_options::recursive);
    const auto store = ResultStore::open(results_, newest);
    change(*store);
    store->flush();
    store->publish();
  }
  void change(const std::string& cell, const std::function<void(Result& result)>& change) {
    Result result = recorded(cell);
    change(result);
    record([&](ResultStore& store) {
      store.forget({cell});
      store.record(result);
    });
  }
  void expect_refused(const Ran& ran, ExitCode code, const std::string& message) const {
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(message));
    EXPECT_FALSE(fs::exists(out_));
  }

  static inline TemporaryFolder* world_ = nullptr;
  static inline Zoo* zoo_ = nullptr;
  TemporaryFolder folder_;
  fs::path results_ = *world_ / "results";
  fs::path out_ = folder_ / "out";
};

TEST_F(Export, writes_the_recorded_bits_with_the_head_of_the_task) {
  for (const std::string method :
       {"simple_average", "task_arithmetic{scale=0.5}", "regmean", "layer_wise_adamerging{steps=3}"}) {
    const Ran ran = run(cell(method), {"--quiet"});
    ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
    EXPECT_THAT(ran.err, IsEmpty());
    EXPECT_THAT(ran.out, AllOf(HasSubstr(out_.string() + ": "), HasSubstr("of float32 in 1 file"),
                               HasSubstr("heads of bars")));
    EXPECT_EQ(digest_of(out_), recorded(cell(method)).facts.at("weights_sha256")) << method;
    const fs::path base = zoo_->replicates[0].base;
    EXPECT_EQ(names_of(HfFolder(out_).read_all()), names_of(HfFolder(base).read_all()));
    EXPECT_EQ(HfFolder(out_).preprocessor_config(), HfFolder(base).preprocessor_config());
    EXPECT_THAT(names_of(heads_of(out_ / "heads.safetensors", {"bars", "rows"})),
                UnorderedElementsAre("bars.rows", "logit_scale"));
    const json record = read_json(out_ / "fusegrid_export.json");
    EXPECT_EQ(record["tasks"], json({"bars"}));
    EXPECT_EQ(record["parameters"], recorded(cell(method)).bindings.at("parameters"));
    EXPECT_EQ(record["model_sha256"], digest_of(out_));
    EXPECT_EQ(record["metrics_sha256"], metrics_sha256(results_ / "results.h5"));
    EXPECT_TRUE(record["as_recorded"]);
    fs::remove_all(out_);
  }
}

TEST_F(Export, a_merge_has_the_heads_of_its_tasks_and_can_be_imported) {
  ASSERT_EQ(run(merge("regmean")).code, ExitCode::kOk);
  const Zoo mine = import_zoo({.folder = folder_ / "mine",
                               .scale = "tiny",
                               .suite = "tiny",
                               .base = zoo_->replicates[0].base,
                               .experts = {{"bars", out_}, {"rows", out_}},
                               .heads = out_ / "heads.safetensors",
                               .pack = zoo_->pack});
  EXPECT_THAT(verify(mine), IsEmpty());
  EXPECT_EQ(mine.replicates[0].digests.at("expert/bars"),
            recorded(cell("regmean")).facts.at("weights_sha256"));
  EXPECT_EQ(digest(load_network(mine, mine.replicates[0], at::kCPU).readout("rows").weights()),
            digest(load_network(*zoo_, zoo_->replicates[0], at::kCPU).readout("rows").weights()));
}

TEST_F(Export, a_model_per_task_is_a_folder_per_task) {
  const auto& digests = zoo_->replicates[0].digests;
  const Ran ran = run(merge("individual"));
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr((out_ / "bars").string()), HasSubstr((out_ / "rows").string())));
  for (const std::string task : {"bars", "rows"}) {
    EXPECT_EQ(digest_of(out_ / task), digests.at("expert/" + task));
    EXPECT_THAT(names_of(heads_of(out_ / task / "heads.safetensors", {"bars", "rows"})),
                UnorderedElementsAre(task + ".rows", "logit_scale"));
  }
  fs::remove_all(out_);
  ASSERT_EQ(run(cell("individual", "rows@clean")).code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), digests.at("expert/rows"));
  fs::remove_all(out_);
  ASSERT_EQ(run(merge("emr")).code, ExitCode::kOk);
  EXPECT_NE(digest_of(out_ / "bars"), digest_of(out_ / "rows"));
}

TEST_F(Export, what_was_adapted_on_shifted_inputs_is_another_merge) {
  const std::string method = "layer_wise_adamerging{steps=3}";
  ASSERT_EQ(run(merge(method) + "@contrast-5").code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), recorded(cell(method, "rows@contrast-5")).facts.at("weights_sha256"));
  EXPECT_NE(digest_of(out_), recorded(cell(method)).facts.at("weights_sha256"));
  fs::remove_all(out_);
  expect_refused(run(merge(method)), ExitCode::kConfig, "did you mean '" + merge(method) + "@clean'?");
}

TEST_F(Export, rounds_to_another_dtype_once) {
  ASSERT_EQ(run(cell("regmean"), {"--dtype", "bf16"}).code, ExitCode::kOk);
  const HfFolder half(out_);
  const fs::path whole = folder_ / "whole";
  ASSERT_EQ(invoke({"export", results_.string(), cell("regmean"), "--out", whole.string()}).code,
            ExitCode::kOk);
  for (const auto& [name, tensor] : HfFolder(whole).read_all()) {
    EXPECT_TRUE(half.read(name).equal(tensor.to(at::kBFloat16))) << name;
  }
  fs::remove_all(out_);
  expect_refused(run(cell("regmean"), {"--dtype", "int8"}), ExitCode::kConfig, "--dtype must be");
}

TEST_F(Export, a_run_in_bf16_gives_the_weights_as_they_were_made) {
  results_ = folder_ / "results";
  const Ran ran = run_job(
      folder_ / "job.cfg",
      "zoo = " + zoo_->folder.string() + "\ndevice = cpu\nprecision = bf16\n[simple_average]\n", results_);
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  ASSERT_EQ(run(cell("simple_average")).code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), recorded(cell("simple_average")).facts.at("weights_sha256"));
}

TEST_F(Export, a_trained_model_brings_its_own_heads) {
  ASSERT_EQ(run(cell("multitask")).code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), zoo_->replicates[0].digests.at("multitask"));
}

TEST_F(Export, merges_with_the_recorded_parameters_whatever_the_defaults_are_now) {
  const std::string half = recorded(cell("task_arithmetic{scale=0.5}")).facts.at("weights_sha256");
  change(cell("task_arithmetic"), [&](Result& result) {
    result.bindings["parameters"] = "scale=0.5";
    result.facts["weights_sha256"] = half;
  });
  ASSERT_EQ(run(cell("task_arithmetic")).code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), half);
}

TEST_F(Export, refuses_other_bits_of_the_same_kind_of_device) {
  change(cell("regmean"), [](Result& result) { result.facts["weights_sha256"] = "abc"; });
  expect_refused(run(cell("regmean")), ExitCode::kDataCorrupt, "those recorded abc; another program made it");
}

TEST_F(Export, warns_of_other_bits_of_another_kind_of_device) {
  change(cell("regmean"), [](Result& result) {
    result.facts["weights_sha256"] = "abc";
    result.facts["device"] = "Some GPU";
  });
  const Ran ran = run(cell("regmean"), {"--device", "cpu"});
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.err, AllOf(HasSubstr("warning"), HasSubstr("recorded on Some GPU")));
  EXPECT_FALSE(read_json(out_ / "fusegrid_export.json")["as_recorded"]);
}

TEST_F(Export, refuses_cells_without_a_result_and_names_the_nearest) {
  expect_refused(run(cell("regmeam")), ExitCode::kConfig, "did you mean '" + cell("regmean") + "'?");
  expect_refused(run("what"), ExitCode::kConfig, "prints the names of cells");
  record([](ResultStore& store) { store.record_plan("job", {cell("ties")}); });
  expect_refused(run(cell("ties")), ExitCode::kConfig, "has no result yet; run it first: fusegrid run");
}

TEST_F(Export, refuses_a_cell_that_failed) {
  change(cell("regmean"), [](Result& result) {
    const std::string name = result.name;
    result = {};
    result.name = name;
    result.status = Status::kFailed;
    result.reason = "no memory";
  });
  expect_refused(run(cell("regmean")), ExitCode::kConfig, "no memory\nRun it again with --retry-failed");
  EXPECT_EQ(run(merge("regmean")).code, ExitCode::kOk) << "another cell has the merge";
}

TEST_F(Export, warns_of_a_cell_that_is_not_to_be_trusted) {
  change(cell("regmean"), [](Result& result) {
    result.status = Status::kInvalid;
    result.reason = "too few examples";
  });
  const Ran ran = run(cell("regmean"));
  EXPECT_EQ(ran.code, ExitCode::kOk);
  EXPECT_THAT(ran.err, HasSubstr("warning: " + cell("regmean") + " is invalid: too few examples"));
}

TEST_F(Export, refuses_what_is_no_single_model) {
  expect_refused(run(cell("simple_ensemble")), ExitCode::kConfig,
                 "expert/rows: " + zoo_->replicates[0].experts.at("rows").string());
  expect_refused(run(cell("wemoe{steps=2}")), ExitCode::kConfig, "WEMoE makes one of the kind");
}

TEST_F(Export, never_writes_over_what_is_there) {
  write_text(out_, "mine");
  EXPECT_EQ(run(cell("regmean")).code, ExitCode::kConfig);
  fs::remove(out_);
  fs::create_directories(out_ / "mine");
  const Ran ran = run(merge("individual"));
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, HasSubstr("must be saved to a new folder"));
  EXPECT_TRUE(fs::is_empty(out_ / "mine"));
}

TEST_F(Export, refuses_results_and_options_that_are_none) {
  const fs::path of_zoo = folder_ / "of_zoo";
  RunInfo launch;
  launch.kind = "zoo";
  ResultStore::open(of_zoo, launch);
  expect_refused(invoke({"export", of_zoo.string(), cell("regmean"), "--out", out_.string()}),
                 ExitCode::kConfig, "models of a zoo, which are folders already");
  expect_refused(invoke({"export", results_.string(), cell("regmean")}), ExitCode::kUsage, "needs --out");
  expect_refused(invoke({"export", (*world_ / "result").string(), cell("regmean"), "--out", out_.string()}),
                 ExitCode::kConfig, "did you mean '" + results_.string() + "'?");
  expect_refused(run(cell("regmean"), {"--threads", "0"}), ExitCode::kUsage, "--threads must lie in");
}

// A copy of the zoo under the same name, and of the results.
class ExportOfAMovedZoo : public Export {
 protected:
  ExportOfAMovedZoo() {
    fs::copy(world_->path(), copy_.path(), fs::copy_options::recursive);
    const Ran ran = run_job(copy_ / "job.cfg",
                            "zoo = " + zoo().string() + "\ndevice = cpu\n[simple_average]\n", results());
    EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
    results_ = results();
  }
  fs::path zoo() const { return copy_ / "zoos/embedded-tiny"; }
  fs::path results() const { return copy_ / "of_copy"; }

  TemporaryFolder copy_;
};

TEST_F(ExportOfAMovedZoo, finds_it_where_the_user_says) {
  const fs::path moved = copy_ / "elsewhere/embedded-tiny";
  fs::create_directories(moved.parent_path());
  fs::rename(zoo().parent_path().parent_path() / "pack.h5", copy_ / "elsewhere/pack.h5");
  fs::rename(zoo(), moved);
  json description = read_json(moved / "zoo.json");
  description["pack"] = (copy_ / "elsewhere/pack.h5").string();
  write_text(moved / "zoo.json", description.dump());
  expect_refused(run(cell("simple_average")), ExitCode::kConfig,
                 "The run found it in '" + zoo().string() + "'; name its folder with --zoo");
  json renamed = description;
  renamed["name"] = "renamed";
  write_text(moved / "zoo.json", renamed.dump());
  expect_refused(run(cell("simple_average"), {"--zoo", moved.string()}), ExitCode::kConfig,
                 "--zoo must be a folder of the zoo 'embedded-tiny', but it is one of 'renamed'");
  write_text(moved / "zoo.json", description.dump());
  ASSERT_EQ(run(cell("simple_average"), {"--zoo", moved.string()}).code, ExitCode::kOk);
  EXPECT_EQ(digest_of(out_), recorded(cell("simple_average")).facts.at("weights_sha256"));
}

TEST_F(ExportOfAMovedZoo, refuses_other_models_and_other_data) {
  json description = read_json(zoo() / "zoo.json");
  const json before = description;
  description["replicates"][0]["digests"]["expert/bars"] = std::string(64, 'a');
  write_text(zoo() / "zoo.json", description.dump());
  expect_refused(run(cell("simple_average")), ExitCode::kConfig,
                 "embedded-tiny/0/expert/bars is " + std::string(64, 'a') + " now, but launch 0");
  description = before;
  description["tasks"] = {"rows"};
  description["experts"] = {{{"name", "bars"}, {"tasks", json::array()}},
                            {{"name", "rows"}, {"tasks", {"rows"}}}};
  write_text(zoo() / "zoo.json", description.dump());
  expect_refused(run(cell("simple_average")), ExitCode::kConfig, "has no longer the task 'bars'");
  description = before;
  test::write_tiny_pack(copy_ / "other.h5", 21);
  description["pack"] = (copy_ / "other.h5").string();
  write_text(zoo() / "zoo.json", description.dump());
  expect_refused(run(cell("simple_average")), ExitCode::kConfig, "other.h5");
  description["pack_sha256"] = sha256_of_file(copy_ / "other.h5");
  write_text(zoo() / "zoo.json", description.dump());
  expect_refused(run(cell("simple_average")), ExitCode::kConfig, "embedded-tiny/pack is");
}

// Two tasks of tokens, and a head for each.
void write_pack_and_heads(const fs::path& folder, int64_t features) {
  test::StoredGroup split = test::stored_split(2);
  split.add_rows("tokens", {{2, 3, 1}, {4, 1}});
  split.arrays["labels"] = test::stored<uint16_t>({0, 1});
  test::StoredGroup task = test::stored_task("classify", R"({"classes": ["a", "b"]})");
  task.groups = {{"train", split}, {"val", split}, {"test", split}};
  test::StoredGroup pack = test::stored_pack({{"spell", task}, {"other", task}});
  pack.groups["tokens"] = test::stored_tokens();
  pack.write(folder / "pack.h5");
  write_safetensors(folder / "heads.safetensors",
                    {{"spell.weight", at::ones({2, features})}, {"other.weight", at::ones({2, features})}});
}

// A grid of adapters on GPT-2, whose matrices are stored as [in, out].
class ExportOfAdapters : public testing::Test {
 protected:
  ExportOfAdapters() {
    const HfFolder golden(source_folder() / "tests/golden/decoder/gpt2");
    const auto architecture = make_architecture(golden.config());
    save_hf_folder(folder_ / "base", golden.read_all(), golden.config());
    for (const auto& [name, seed] : {std::pair("first", 1), std::pair("second", 2)}) {
      LoraAdapter adapter{
          .factors = {}, .targets = {"c_attn"}, .task_type = "CAUSAL_LM", .fan_in_fan_out = true};
      for (const std::string layer : {"0", "1"}) {
        const std::string tensor = "transformer.h." + layer + ".attn.c_attn.weight";
        const auto shape = golden.info(tensor).shape;
        adapter.factors.emplace(tensor,
                                LowRankFactors{normal(seed, 1, 0, shape[1] * 2).view({shape[1], 2}) * 0.1,
                                               normal(seed, 2, 0, shape[0] * 2).view({2, shape[0]}), 2});
      }
      save_lora_folder(folder_ / name, adapter, "base");
    }
    write_pack_and_heads(folder_.path(), architecture->feature_size());
    run_grid("mine", "second");
  }
  // A zoo of the adapters `first` and `other`, and its results.
  Zoo run_grid(const std::string& name, const std::string& other) {
    const Zoo zoo = import_zoo({.folder = folder_ / name,
                                .scale = "tiny",
                                .suite = "tiny",
                                .base = folder_ / "base",
                                .experts = {{"spell", folder_ / "first"}, {"other", folder_ / other}},
                                .heads = folder_ / "heads.safetensors",
                                .pooling = Pooling::kLast,
                                .pack = folder_ / "pack.h5"});
    const Ran grid =
        run_job(folder_ / "job.cfg",
                "zoo = " + (folder_ / name).string() + "\ndevice = cpu\n[simple_average]\n[individual]\n",
                folder_ / ("results-" + name));
    EXPECT_EQ(grid.code, ExitCode::kOk) << grid.err;
    return zoo;
  }
  Ran run(const std::string& method, const std::string& adapter, const std::string& task = "") {
    fs::remove_all(out_);
    return invoke({"export", (folder_ / "results-mine").string(),
                   "mine/experts=2/" + method + "/seed=0" + task, "--out", out_.string(), "--adapter",
                   adapter, "--quiet"});
  }
  Weights model_of(const fs::path& adapter) {
    const HfFolder base(folder_ / "base");
    return read_all(LoraExpert(adapter, base));
  }

  TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
};

TEST_F(ExportOfAdapters, writes_the_experts_own) {
  const Ran ran = run("individual", "own");
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("the adapter '" + (folder_ / "first").string() + "', heads of spell"));
  for (const std::string file : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(read_text(out_ / "spell" / file), read_text(folder_ / "first" / file));
    EXPECT_EQ(read_text(out_ / "other" / file), read_text(folder_ / "second" / file));
  }
  EXPECT_THAT(names_of(heads_of(out_ / "spell" / "heads.safetensors", {"spell", "other"})),
              UnorderedElementsAre("spell.weight"));
  EXPECT_EQ(read_json(out_ / "other" / "fusegrid_export.json")["tasks"], json({"other"}));
}

TEST_F(ExportOfAdapters, cuts_a_merge_to_a_rank_and_says_what_it_lacks) {
  const Weights base = HfFolder(folder_ / "base").read_all();
  const Weights first = model_of(folder_ / "first");
  const Weights second = model_of(folder_ / "second");
  const auto missing = [&] {
    double lacking = 0;
    double change = 0;
    for (const auto& [name, values] : model_of(out_)) {
      if (values.is_floating_point()) {
        const at::Tensor merged = (first.at(name).to(at::kDouble) + second.at(name).to(at::kDouble)) / 2;
        lacking += (merged - values).square().sum().item<double>();
        change += (merged - base.at(name)).square().sum().item<double>();
      }
    }
    return std::sqrt(lacking / change);
  };
  Ran ran = run("simple_average", "4");
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("factors of 2 modules"), HasSubstr("lacks 0.00 %"),
                             HasSubstr("heads of other, spell")));
  EXPECT_LT(missing(), 1e-5);
  ran = run("simple_average", "1", "/spell@clean");
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  const json record = read_json(out_ / "fusegrid_export.json");
  EXPECT_GT(missing(), 0.1);
  EXPECT_NEAR(record.at("adapter").at("relative_error").get<double>(), missing(), 1e-6);
  EXPECT_EQ(record.at("adapter").at("rank"), 1);
  EXPECT_EQ(read_json(out_ / "adapter_config.json").at("fan_in_fan_out"), true);
}

TEST_F(ExportOfAdapters, refuses_what_cannot_be_one) {
  const auto expect_refused = [](const Ran& ran, ExitCode code, const std::string& what) {
    EXPECT_EQ(ran.code, code);
    EXPECT_THAT(ran.err, HasSubstr(what));
  };
  expect_refused(run("simple_average", "own"), ExitCode::kConfig, "only an individual expert has an adapter");
  expect_refused(run("simple_average", "0"), ExitCode::kUsage,
                 "--adapter takes a rank of at least 1, or own");
  expect_refused(run("simple_average", "1000"), ExitCode::kConfig, "must not be above the smaller side");
  fs::remove_all(out_);
  expect_refused(
      invoke({"export", (folder_ / "results-mine").string(), "mine/experts=2/simple_average/seed=0", "--out",
              out_.string(), "--adapter", "2", "--dtype", "bf16"}),
      ExitCode::kUsage, "leave one out");
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(ExportOfAdapters, takes_vectors_of_ia3_as_well) {
  const HfFolder base(folder_ / "base");
  const std::string tensor = "transformer.h.1.mlp.c_fc.weight";
  const int64_t out = base.info(tensor).shape[1];
  write_adapter(folder_ / "ia3",
                {{"base_model.model.transformer.h.1.mlp.c_fc.ia3_l", at::ones({out, 1}) * 3}},
                {{"peft_type", "IA3"},
                 {"target_modules", {"c_fc"}},
                 {"feedforward_modules", json::array()},
                 {"fan_in_fan_out", true}});
  const Zoo zoo = run_grid("vectors", "ia3");
  EXPECT_THAT(verify(zoo), IsEmpty());
  const auto architecture = make_architecture(base.config());
  Weights expected = read_parameters(*architecture, base);
  for (auto& [name, values] : expected) {
    if (name.ends_with("h.1.mlp.c_fc.weight") || name.ends_with("h.1.mlp.c_fc.bias")) {
      values = values * 3;
    }
  }
  EXPECT_EQ(zoo.replicates[0].digests.at("expert/other"), digest(expected));
  const Ran ran = invoke({"export", (folder_ / "results-vectors").string(),
                          "vectors/experts=2/individual/seed=0/other@clean", "--out", out_.string(),
                          "--adapter", "own", "--quiet"});
  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(read_text(out_ / "adapter_config.json"), read_text(folder_ / "ia3" / "adapter_config.json"));
}

TEST_F(Export, has_no_adapter_of_its_own_where_an_expert_is_a_whole_model) {
  const Ran ran = run(merge("individual"), {"--adapter", "own"});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_THAT(ran.err, HasSubstr("is a whole model; give the rank"));
}

// As transformers writes it: names with a prefix, matrices as [in, out], in two files.
TEST(ExportOfGpt2, is_stored_as_the_base_is) {
  const TemporaryFolder folder;
  const HfFolder golden(source_folder() / "tests/golden/decoder/gpt2");
  Weights tensors = golden.read_all();
  const auto architecture = make_architecture(golden.config());
  for (const std::string model : {"base", "first", "second"}) {
    save_hf_folder(folder / model, tensors, golden.config());
    for (auto& [name, tensor] : tensors) {
      tensor = tensor * 1.5;
    }
  }
  std::map<std::string, Weights> parts;
  json places;
  for (const auto& [name, tensor] : golden.read_all()) {
    const std::string file =
        name < "transformer.h.1" ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
    parts[file].emplace(name, tensor);
    places[name] = file;
  }
  fs::remove(folder / "base/model.safetensors");
  for (const auto& [file, part] : parts) {
    write_safetensors(folder / "base" / file, part, {{"format", "pt"}});
  }
  write_text(folder / "base/model.safetensors.index.json", json{{"weight_map", places}}.dump());
  write_text(folder / "base/tokenizer.json", "{}");
  write_text(folder / "base/README.md", "of the base");
  write_pack_and_heads(folder.path(), architecture->feature_size());
  import_zoo({.folder = folder / "mine",
              .scale = "tiny",
              .suite = "tiny",
              .base = folder / "base",
              .experts = {{"spell", folder / "first"}, {"other", folder / "second"}},
              .heads = folder / "heads.safetensors",
              .pooling = Pooling::kLast,
              .pack = folder / "pack.h5"});
  const Ran grid = run_job(folder / "job.cfg",
                           "zoo = " + (folder / "mine").string() + "\ndevice = cpu\n[simple_average]\n",
                           folder / "results");
  ASSERT_EQ(grid.code, ExitCode::kOk) << grid.err;

  const std::string cell = "mine/experts=2/simple_average/seed=0/spell@clean";
  const fs::path out = folder / "out";
  const Ran ran = invoke({"export", (folder / "results").string(), cell, "--out", out.string()});

  ASSERT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(digest_of(out),
            ResultStore::read(folder / "results")->results().at(cell).facts.at("weights_sha256"));
  const HfFolder written(out);
  EXPECT_EQ(names_of(written.read_all()), names_of(golden.read_all()));
  EXPECT_EQ(written.info("transformer.h.0.attn.c_attn.weight").shape,
            golden.info("transformer.h.0.attn.c_attn.weight").shape);
  EXPECT_EQ(written.config(), golden.config());
  EXPECT_EQ(read_json(out / "model.safetensors.index.json")["weight_map"], places);
  EXPECT_TRUE(fs::exists(out / "tokenizer.json"));
  EXPECT_FALSE(fs::exists(out / "README.md"));
}

}  // namespace
}  // namespace fusegrid::export_test
