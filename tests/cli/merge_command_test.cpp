#include <fstream>

#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "checkpoint/hf_folder.h"
#include "cli/invoke.h"
#include "support/temporary_folder.h"

namespace fusegrid {
namespace {

class MergeCommand : public testing::Test {
 protected:
  MergeCommand() {
    add("base", 1);
    add("first", 2);
    add("second", 4);
  }
  void add(const std::string& name, double value) {
    save_hf_folder(folder / name, {{"weight", at::full({3, 4}, value, at::kFloat)}},
                   {{"model_type", "test"}});
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  Ran run(std::vector<std::string> words) const {
    words.insert(words.begin(), "merge");
    return invoke(words);
  }
  std::vector<std::string> line(const std::string& method) const {
    return {"--method", method,        "--base",   path("base"),
            "--expert", path("first"), "--expert", "b=" + path("second"),
            "--out",    path("out"),   "--device", "cpu"};
  }
  static double value(const std::filesystem::path& model) {
    return HfFolder(model).read("weight")[0][0].item<double>();
  }

  TemporaryFolder folder;
};

TEST_F(MergeCommand, merges_and_verifies) {
  const Ran ran = run(line("task_arithmetic{scale=0.5}"));
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NE(ran.out.find("1 pass"), std::string::npos) << ran.out;
  EXPECT_EQ(value(folder / "out"), 1 + 0.5 * (1 + 3));
  const Ran verified = run({"--verify", path("out")});
  EXPECT_EQ(verified.code, ExitCode::kOk) << verified.err;
  EXPECT_NE(verified.out.find("1 tensor, all as in the manifest"), std::string::npos) << verified.out;
}

TEST_F(MergeCommand, verify_tells_what_differs) {
  run(line("simple_average"));
  std::fstream file(folder / "out" / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  const Ran verified = run({"--verify", path("out")});
  EXPECT_EQ(verified.code, ExitCode::kDataCorrupt);
  EXPECT_NE(verified.err.find("tensor 'weight' has other bytes"), std::string::npos) << verified.err;
}

TEST_F(MergeCommand, takes_layers_of_models) {
  save_hf_folder(
      folder / "deep",
      {{"layers.0.w", at::full({2}, 5.0, at::kFloat)}, {"layers.1.w", at::full({2}, 6.0, at::kFloat)}},
      {{"num_hidden_layers", 2}});
  const auto stack = [&](const std::string& range) {
    return std::vector<std::string>{"--method", "passthrough",
                                    "--device", "cpu",
                                    "--expert", path("deep") + range + "+" + path("deep") + "[1:2]",
                                    "--out",    path("out")};
  };
  const Ran refused = run(stack("[0:3]"));
  EXPECT_EQ(refused.code, ExitCode::kConfig);
  EXPECT_NE(refused.err.find("must end at layer 2"), std::string::npos) << refused.err;
  const Ran ran = run(stack("[0:2]"));
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(HfFolder(folder / "out").read("layers.2.w")[0].item<double>(), 6);
}

TEST_F(MergeCommand, takes_pipelines_of_diffusers) {
  const auto pipeline = [&](const std::string& name, double value) {
    std::filesystem::create_directory(folder / name);
    write_text(folder / name / "model_index.json",
               R"({"_class_name": "P", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"]})");
    add(name + "/unet", value);
    add(name + "/vae", value);
  };
  pipeline("p", 1);
  pipeline("q", 3);
  const auto words = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"--method", "simple_average", "--device", "cpu",     "--base", path("p"),
                                 "--expert", path("p"),        "--expert", path("q"), "--out",  path("out")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Ran dry = run(words({"--dry-run"}));
  EXPECT_EQ(dry.code, ExitCode::kOk) << dry.err;
  EXPECT_NE(dry.out.find("unet\n"), std::string::npos) << dry.out;
  EXPECT_NE(dry.err.find("merged: unet; not merged but kept: vae"), std::string::npos) << dry.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "out.partial"));
  const Ran unknown = run(words({"--components", "unet, transformer"}));
  EXPECT_EQ(unknown.code, ExitCode::kConfig);
  EXPECT_NE(unknown.err.find("there is no 'transformer'"), std::string::npos) << unknown.err;
  EXPECT_EQ(run(words({"--components", "unet,"})).code, ExitCode::kConfig);
  EXPECT_EQ(run(words({"--keep", "vae="})).code, ExitCode::kConfig);
  const Ran ran = run(words({"--components", "unet", "--keep", "vae=q"}));
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NE(ran.out.find("1 pipeline of 1 merged component"), std::string::npos) << ran.out;
  EXPECT_EQ(value(folder / "out" / "unet"), 2);
  EXPECT_EQ(value(folder / "out" / "vae"), 3);
  EXPECT_EQ(run({"--verify", path("out")}).code, ExitCode::kOk);
  write_text(folder / "job.cfg",
             "base = " + path("p") + "\nexpert = " + path("p") + "\nexpert = " + path("q") +
                 "\ncomponents = vae\nkeep = unet=q\nout = " + path("job") + "\n[simple_average]\n");
  EXPECT_EQ(run({"--job", path("job.cfg"), "--device", "cpu"}).code, ExitCode::kOk);
  EXPECT_EQ(value(folder / "job" / "vae"), 2);
  EXPECT_EQ(value(folder / "job" / "unet"), 3);
}

TEST_F(MergeCommand, components_are_those_of_a_pipeline) {
  auto words = line("simple_average");
  words.insert(words.end(), {"--keep", "vae"});
  const Ran ran = run(words);
  EXPECT_EQ(ran.code, ExitCode::kUsage);
  EXPECT_NE(ran.err.find("has no model_index.json"), std::string::npos) << ran.err;
}

TEST_F(MergeCommand, takes_mixtures_of_experts) {
  const auto passed = [&](const std::string& expert) {
    return run({"--method", "passthrough", "--device", "cpu", "--expert", expert, "--out", path("out")});
  };
  const auto refused = [&](const std::string& expert, const std::string& message) {
    const Ran ran = passed(expert);
    EXPECT_EQ(ran.code, ExitCode::kConfig);
    EXPECT_NE(ran.err.find(message), std::string::npos) << ran.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  };
  // the '=' in its braces does not end a name
  refused("moe{num_experts=2}(" + path("base") + ")", "model_type llama or mistral");
  refused("up=moe{num_experts=2}(" + path("base") + ")", "model_type llama or mistral");
  refused("moe{experts_per_token=3}(" + path("base") + "; a, b)", "experts_per_token must be at most");
  Weights weights{{"model.embed_tokens.weight", at::full({3, 2}, 1.0, at::kFloat)},
                  {"model.norm.weight", at::full({2}, 1.0, at::kFloat)},
                  {"lm_head.weight", at::full({3, 2}, 1.0, at::kFloat)}};
  for (const std::string norm : {"input_layernorm", "post_attention_layernorm"}) {
    weights["model.layers.0." + norm + ".weight"] = at::full({2}, 1.0, at::kFloat);
  }
  for (const std::string matrix : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                   "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    weights["model.layers.0." + matrix + ".weight"] = at::full({2, 2}, 7.0, at::kFloat);
  }
  save_hf_folder(folder / "llama", weights,
                 {{"model_type", "llama"},
                  {"num_hidden_layers", 1},
                  {"hidden_size", 2},
                  {"intermediate_size", 2},
                  {"num_attention_heads", 1}});
  const Ran ran = passed("moe{num_experts=2}(" + path("llama") + ")");
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  const HfFolder merged(folder / "out");
  EXPECT_EQ(merged.read("model.layers.0.block_sparse_moe.experts.1.w2.weight")[1][1].item<double>(), 7);
  const auto manifest = nlohmann::json::parse(read_text(folder / "out" / "fusegrid_manifest.json"));
  EXPECT_EQ(manifest.at("inputs").at(0).at("name"), "llama-moe");
}

// Binds this process to one core, as mpirun binds the ranks of small jobs.
class OneCore {
 public:
  OneCore() {
    sched_getaffinity(0, sizeof all_, &all_);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t core = 0; CPU_COUNT(&one) == 0; ++core) {
      if (CPU_ISSET(core, &all_)) {
        CPU_SET(core, &one);
      }
    }
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OneCore() { sched_setaffinity(0, sizeof all_, &all_); }
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

 private:
  cpu_set_t all_;
};

TEST_F(MergeCommand, says_that_it_is_bound_to_few_cores) {
  if (sysconf(_SC_NPROCESSORS_ONLN) == 1) {
    GTEST_SKIP() << "a host of one core";
  }
  const OneCore bound;
  const Ran ran = run(line("simple_average"));
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NE(ran.err.find("bound to 1 core"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("--bind-to none"), std::string::npos) << ran.err;
}

TEST_F(MergeCommand, a_dry_run_checks_and_writes_nothing) {
  auto words = line("ties");
  words.emplace_back("--dry-run");
  const Ran ran = run(words);
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_NE(ran.out.find("passes over the models"), std::string::npos) << ran.out;
  EXPECT_EQ(folder.names(), (std::set<std::string>{"base", "first", "second"}));
}

TEST_F(MergeCommand, a_job_file_makes_one_folder_per_configuration) {
  write_text(folder / "sweep.cfg", "base = " + path("base") + "\nexpert = " + path("first") +
                                       "\nexpert = b=" + path("second") + "\nout = " + path("sweep") +
                                       "\n[task_arithmetic]\nscale = 0 0.5 1  # a sweep\n[simple_average]\n");
  const Ran ran = run({"--job", path("sweep.cfg"), "--device", "cpu"});
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(value(folder / "sweep" / "task_arithmetic-scale=0"), 1);
  EXPECT_EQ(value(folder / "sweep" / "task_arithmetic-scale=1"), 5);
  EXPECT_EQ(value(folder / "sweep" / "simple_average"), 3);
}

TEST_F(MergeCommand, a_job_file_takes_the_options_of_the_command_line) {
  const std::string models =
      "base = " + path("base") + "\nexpert = " + path("first") + "\nout = " + path("out") + "\n";
  write_text(folder / "compat.cfg",
             models + "precision = compat\n[task_arithmetic]\nweights = 0.5\nscale = 1\n");
  EXPECT_EQ(run({"--job", path("compat.cfg"), "--device", "cpu"}).code, ExitCode::kOk);
  EXPECT_EQ(value(folder / "out"), 1.5);
  write_text(folder / "wrong.cfg", models + "precision = compat\nallow-vocabulary-mismatch = yes\n[emr]\n");
  const Ran vague = run({"--job", path("wrong.cfg")});
  EXPECT_EQ(vague.code, ExitCode::kConfig);
  EXPECT_NE(vague.err.find("'allow-vocabulary-mismatch' must be true or false"), std::string::npos)
      << vague.err;
  std::filesystem::remove_all(folder / "out");
  write_text(folder / "wrong.cfg", models + "precision = compat\n[emr]\n");
  const Ran refused = run({"--job", path("wrong.cfg")});
  EXPECT_EQ(refused.code, ExitCode::kConfig);
  EXPECT_NE(refused.err.find("choose --precision fp32 or one of: arcee_fusion"), std::string::npos)
      << refused.err;
}

TEST_F(MergeCommand, says_how_much_of_an_interrupted_merge_is_there) {
  std::filesystem::create_directories(folder / "out.partial" / ".fusegrid");
  auto words = line("task_arithmetic");
  words.emplace_back("--dry-run");
  EXPECT_EQ(run(words).code, ExitCode::kOk);
  write_text(folder / "out.partial" / ".fusegrid" / "identity", "another merge");
  const Ran ran = run(words);
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_NE(ran.err.find("unfinished merge of other inputs"), std::string::npos) << ran.err;
}

TEST_F(MergeCommand, job_files_name_the_line_of_a_mistake) {
  write_text(folder / "bad.cfg", "base = x\n[task_arithmetic]\nscale = much\n");
  const Ran ran = run({"--job", path("bad.cfg")});
  EXPECT_EQ(ran.code, ExitCode::kConfig);
  EXPECT_NE(ran.err.find("bad.cfg:3: "), std::string::npos) << ran.err;
  for (const std::string setting : {"dtype = int8", "shard-size = big", "digests = some", "threads = many",
                                    "threads = -1", "seed = x", "device = tpu", "inputs-are = far"}) {
    write_text(folder / "bad.cfg", "base = " + path("base") + "\nexpert = " + path("first") +
                                       "\nout = " + path("out") + "\n" + setting + "\n[task_arithmetic]\n");
    const Ran refused = run({"--job", path("bad.cfg")});
    EXPECT_NE(refused.code, ExitCode::kOk) << setting;
    EXPECT_NE(refused.err.find("bad.cfg:4: "), std::string::npos) << refused.err;
  }
}

TEST_F(MergeCommand, job_files_answer_names_of_other_tools_with_those_here) {
  for (const auto& [section, answer] : std::vector<std::pair<std::string, std::string>>{
           {"[linear]", "'weighted_average' here"}, {"[ties]\nlambda = 1", "'scale' here"}}) {
    write_text(folder / "bad.cfg", section + "\n");
    const Ran ran = run({"--job", path("bad.cfg")});
    EXPECT_EQ(ran.code, ExitCode::kConfig);
    EXPECT_NE(ran.err.find("mergekit's is called " + answer), std::string::npos) << ran.err;
  }
}

TEST_F(MergeCommand, mistakes_are_told_before_anything_is_written) {
  EXPECT_EQ(run({"--out", path("out")}).code, ExitCode::kUsage);
  EXPECT_EQ(run({"--method", "ties", "--out", path("out")}).code, ExitCode::kUsage);
  auto size = line("task_arithmetic");
  size.insert(size.end(), {"--keep-on-gpu", "much"});
  EXPECT_EQ(run(size).code, ExitCode::kUsage);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--dtype", "int8"},
                                                {"--digests", "some"},
                                                {"--precision", "bf16"},
                                                {"--reduction", "sum"},
                                                {"--inputs-are", "remote"},
                                                {"--memory-limit", "1K"},
                                                {"--threads", "-1"}}) {
    auto words = line("task_arithmetic");
    words.insert(words.end(), wrong.begin(), wrong.end());
    const Ran ran = run(words);
    EXPECT_EQ(ran.code, ExitCode::kConfig) << wrong[0] << ": " << ran.err;
    EXPECT_NE(ran.err.find(wrong[0]), std::string::npos) << ran.err;
  }
  auto words = line("task_arithmetic");
  words.insert(words.end(), {"--shard-size", "large"});
  EXPECT_EQ(run(words).code, ExitCode::kUsage);
  EXPECT_EQ(folder.names(), (std::set<std::string>{"base", "first", "second"}));
}

TEST_F(MergeCommand, names_of_experts_stay_in_the_output) {
  for (const std::string name : {"../second", "..", ".", "", ".fusegrid", "/tmp/absolute", "a/b", "a b"}) {
    auto words = line("emr");
    words[5] = name + "=" + path("first");
    const Ran ran = run(words);
    EXPECT_EQ(ran.code, ExitCode::kConfig) << name;
    EXPECT_NE(ran.err.find("the name of an expert"), std::string::npos) << ran.err;
  }
  // a folder's name becomes a path only where a method writes a model for each expert
  std::filesystem::rename(folder / "first", folder / "first (2)");
  for (const auto& [method, code] :
       {std::pair("emr", ExitCode::kConfig), {"simple_average", ExitCode::kOk}}) {
    auto words = line(method);
    words[5] = path("first (2)");
    EXPECT_EQ(run(words).code, code) << method;
  }
  for (const std::string out : {"", ".", "..", "new/.."}) {
    auto words = line("simple_average");
    words[9] = out;
    EXPECT_EQ(run(words).code, ExitCode::kConfig) << out;
  }
}

TEST_F(MergeCommand, files_of_mergekit_and_names_of_hubs_are_recognised) {
  for (const std::string text : {"models:\n  - model: a\n", "---\nmerge_method: ties\n",
                                 "# mine\nmerge_method: ties\nslices:\n", "- sources:\n"}) {
    write_text(folder / "job.yml", text);
    const Ran ran = run({"--job", path("job.yml")});
    EXPECT_EQ(ran.code, ExitCode::kConfig);
    EXPECT_NE(ran.err.find("is YAML, as job files of mergekit are"), std::string::npos) << ran.err;
  }
  for (const std::string name :
       {"some-org/some-model-7b", "some-model", "https://a.hub/some-org/some-model"}) {
    auto words = line("simple_average");
    words[5] = name;
    const Ran ran = run(words);
    EXPECT_EQ(ran.code, ExitCode::kConfig);
    EXPECT_NE(ran.err.find("must be downloaded first"), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("'" + name + "'"), std::string::npos) << ran.err;
  }
  auto words = line("linear");
  EXPECT_NE(run(words).err.find("mergekit's is called 'weighted_average' here"), std::string::npos);
}

TEST_F(MergeCommand, notes_are_told_in_a_dry_run_too_and_job_files_have_the_options) {
  for (const std::string name : {"first", "second"}) {
    write_text(folder / name / "chat_template.jinja", "T");
  }
  write_text(folder / "job.cfg", "base = " + path("base") + "\nexpert = " + path("first") + "\nexpert = " +
                                     path("second") + "\nout = " + path("out") + "\n[task_arithmetic]\n");
  const Ran dry = run({"--job", path("job.cfg"), "--dry-run"});
  EXPECT_EQ(dry.code, ExitCode::kOk) << dry.err;
  EXPECT_NE(dry.err.find("note: 'first, second' have a chat template"), std::string::npos) << dry.err;
  EXPECT_EQ(run({"--job", path("job.cfg"), "--dry-run", "--quiet"}).err, "");
  write_text(folder / "job.cfg",
             "tokenizer-from = second\nfollow-links = true\nallow-head-mismatch = true\n" +
                 read_text(folder / "job.cfg"));
  const Ran ran = run({"--job", path("job.cfg")});
  EXPECT_EQ(ran.code, ExitCode::kOk) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(read_text(folder / "out" / "chat_template.jinja"), "T");
}

TEST_F(MergeCommand, runs_a_file_of_mergekit_and_the_job_that_it_prints) {
  std::ofstream(folder / "c.yml") << "merge_method: task_arithmetic\nbase_model: " << path("base")
                                  << "\nmodels:\n - {model: " << path("first")
                                  << ", parameters: {weight: 0.5}}\n";
  const Ran job = run({"--mergekit", path("c.yml"), "--out", path("out"), "--print-job", "--device", "cpu"});
  EXPECT_EQ(job.code, ExitCode::kOk) << job.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  std::ofstream(folder / "job.cfg") << job.out;
  EXPECT_EQ(run({"--job", path("job.cfg"), "--device", "cpu"}).code, ExitCode::kOk);
  EXPECT_EQ(value(folder / "out"), 1.5);
  EXPECT_EQ(run({"--mergekit", path("c.yml"), "--out", path("again"), "--device", "cpu"}).code,
            ExitCode::kOk);
  EXPECT_EQ(HfFolder(folder / "out").digest(), HfFolder(folder / "again").digest());
}

TEST_F(MergeCommand, says_why_a_file_of_mergekit_has_no_job) {
  std::ofstream(folder / "c.yml") << "merge_method: linear\nmodels: [{model: " << path("first")
                                  << "}]\nparameters: {weight: 1}\nout_dtype: bfloat16\n";
  const Ran job = run({"--mergekit", path("c.yml"), "--out", path("out"), "--print-job", "--device", "cpu"});
  EXPECT_NE(job.out.find("has no job file: it computes in another dtype"), std::string::npos) << job.out;
  EXPECT_EQ(run({"--print-job", "--out", path("out")}).code, ExitCode::kUsage);
  const Ran both = run({"--mergekit", path("c.yml"), "--out", path("out"), "--dtype", "float32"});
  EXPECT_EQ(both.code, ExitCode::kUsage);
  EXPECT_NE(both.err.find("--dtype"), std::string::npos) << both.err;
}

TEST_F(MergeCommand, continues_a_file_of_several_documents_behind_those_that_are_there) {
  const std::string linear = "merge_method: linear\nparameters: {weight: 1}\n";
  std::ofstream(folder / "c.yml") << linear << "models: [{model: half}, {model: " << path("second")
                                  << "}]\n---\n"
                                  << linear << "name: half\nmodels: [{model: " << path("base")
                                  << "}, {model: " << path("first") << "}]\n";
  const std::vector<std::string> line{"--mergekit", path("c.yml"), "--out", path("out"), "--device", "cpu"};
  auto dry = line;
  dry.push_back("--dry-run");
  EXPECT_NE(run(dry).out.find("reads results that are not there yet"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "out.half"));
  EXPECT_EQ(run(line).code, ExitCode::kOk);
  EXPECT_EQ(value(folder / "out"), (1.5 + 4) / 2);
  std::filesystem::remove_all(folder / "out");
  const Ran again = run(line);
  EXPECT_NE(again.out.find("out.half: is there, made of the same inputs"), std::string::npos) << again.out;
  EXPECT_EQ(value(folder / "out"), (1.5 + 4) / 2);
  std::filesystem::remove_all(folder / "out");
  std::filesystem::remove_all(folder / "first");
  add("first", 3);  // what is there was made of another one
  const Ran changed = run(line);
  EXPECT_EQ(changed.code, ExitCode::kConfig);
  EXPECT_NE(changed.err.find("out.half' exists"), std::string::npos) << changed.err;
}

}  // namespace
}  // namespace fusegrid
