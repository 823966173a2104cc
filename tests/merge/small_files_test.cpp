// What lies beside the weights: files that go with the model, tokenizers, chat templates.
#include "merge/small_files.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Files = std::map<std::string, std::string>;

class BesideWeights : public testing::Test {
 protected:
  void add(const std::string& name, const Files& files, nlohmann::json config = {{"model_type", "test"}}) {
    save_hf_folder(folder_ / name, {{"model.embed_tokens.weight", at::full({8, 4}, 1.0, at::kFloat)}},
                   config);
    for (const auto& [file, text] : files) {
      const fs::path path = folder_ / name / file;
      fs::create_directories(path.parent_path());
      write_text(path, text);
    }
  }
  MergeSpec spec(const std::vector<std::string>& experts,
                 const std::string& method = "simple_average") const {
    MergeSpec spec;
    for (const std::string& expert : experts) {
      spec.experts.push_back({expert, folder_ / expert});
    }
    spec.methods = {{method, {}}};
    spec.out = folder_ / "out";
    return spec;
  }
  // Relative names of all files of a result but the weights and what a merge writes.
  std::set<std::string> result() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
      EXPECT_FALSE(entry.is_symlink()) << entry.path();
      if (entry.is_regular_file()) {
        names.insert(fs::relative(entry.path(), folder_ / "out").generic_string());
      }
    }
    for (const char* name : {"config.json", "model.safetensors", "fusegrid_manifest.json"}) {
      EXPECT_EQ(names.erase(name), 1U) << name;
    }
    return names;
  }

  TemporaryFolder folder_;
};

TEST_F(BesideWeights, folders_and_odd_names_go_with_the_model) {
  const Files files{{"modules.json", R"([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}])"},
                    {"1_Pooling/config.json", "{}"},
                    {"2_Dense/config.json", "{}"},
                    {"2_Dense/model.safetensors", "weights"},
                    {"additional_chat_templates/tool_use.jinja", "x"},
                    {"a/b/c.txt", "x"},
                    {"special tokens.txt", "x"},
                    {"__init__.py", ""},
                    {"tokenizer.json", "{}"}};
  add("a", files);
  add("b", {});
  const MergePlan plan = plan_merge(spec({"a", "b"}));
  EXPECT_THAT(plan.notes, ElementsAre(AllOf(HasSubstr("'2_Dense/model.safetensors' is not merged"))));
  merge(spec({"a", "b"}), 2);
  std::set<std::string> names;
  for (const auto& [name, text] : files) {
    names.insert(name);
    EXPECT_EQ(read_text(folder_ / "out" / name), text);
  }
  EXPECT_EQ(result(), names);
}

TEST_F(BesideWeights, other_models_and_formats_stay_out_and_are_named) {
  add("a", {{"onnx/model.onnx", "x"},
            {"onnx/config.json", "x"},
            {"pytorch_model.bin", "x"},
            {"consolidated.safetensors", "x"},
            {".hidden", "x"},
            {"tokenizer.json", "{}"}});
  add("b", {});
  const MergePlan plan = plan_merge(spec({"a", "b"}));
  EXPECT_THAT(plan.notes,
              ElementsAre(AllOf(HasSubstr("onnx/ (a folder with weights"), HasSubstr("pytorch_model.bin"),
                                HasSubstr("consolidated.safetensors"), HasSubstr(".hidden"))));
  merge(spec({"a", "b"}), 1);
  EXPECT_EQ(result(), std::set<std::string>{"tokenizer.json"});
}

TEST_F(BesideWeights, what_a_trainer_left_stays_out) {
  add("a", {{"trainer_state.json", "{}"},
            {"training_args.bin", "x"},
            {"rng_state_0.pth", "x"},
            {"latest", "global_step1"},
            {"global_step1/states.pt", "x"},
            {"checkpoint-1/model.safetensors", "x"},
            {"runs/events.out.tfevents.1", "x"},
            {".git/HEAD", "x"},
            {"README.md", "x"},
            {"merges.txt", "x"}});
  add("b", {});
  EXPECT_THAT(plan_merge(spec({"a", "b"})).notes, IsEmpty());
  merge(spec({"a", "b"}), 1);
  EXPECT_EQ(result(), std::set<std::string>{"merges.txt"});
}

TEST_F(BesideWeights, links_are_followed_as_far_as_it_is_allowed) {
  add("store", {{"tokenizer.json", "{}"}, {"1_Pooling/config.json", "{}"}});
  add("b", {});
  fs::create_directory(folder_ / "links");
  for (const auto& entry : fs::directory_iterator(folder_ / "store")) {
    fs::create_symlink(entry.path(), folder_ / "links" / entry.path().filename());
  }
  MergeSpec linked = spec({"links", "b"});
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(linked); }), HasSubstr("--follow-links"));
  linked.follow_links = true;
  merge(linked, 1);
  EXPECT_EQ(result(), (std::set<std::string>{"1_Pooling/config.json", "tokenizer.json"}));

  // a small file alone leads out of the folder
  fs::create_symlink(folder_ / "store/tokenizer.json", folder_ / "b/tokenizer.json");
  fs::remove_all(folder_ / "out");
  EXPECT_THAT(message_of<ConfigError>([&] {
                plan_merge(spec({"b", "store"}));
              }),
              HasSubstr("b/tokenizer.json"));
}

TEST_F(BesideWeights, links_in_a_circle_end) {
  add("a", {{"folder/x.txt", "x"}});
  add("b", {});
  fs::create_directory_symlink(".", folder_ / "a/folder/again");
  EXPECT_THAT(plan_merge(spec({"a", "b"})).notes, Contains(HasSubstr("too deep")));
}

TEST_F(BesideWeights, a_result_below_its_reference_does_not_copy_itself) {
  add("a", {{"tokenizer.json", "{}"}});
  add("b", {});
  MergeSpec inside = spec({"a", "b"});
  inside.out = folder_ / "a/merged";
  merge(inside, 1);
  EXPECT_FALSE(fs::exists(folder_ / "a/merged/merged"));
  EXPECT_FALSE(fs::exists(folder_ / "a/merged/merged.partial"));
  EXPECT_TRUE(fs::exists(folder_ / "a/merged/tokenizer.json"));
}

const Files kChat{{"tokenizer_config.json", R"({"chat_template": "T"})"},
                  {"chat_template.jinja", "T"},
                  {"additional_chat_templates/tools.jinja", "U"},
                  {"generation_config.json", R"({"eos_token_id": [2, 5]})"}};

TEST_F(BesideWeights, a_template_that_is_left_behind_is_a_word_with_an_option) {
  add("plain",
      {{"tokenizer_config.json", "{}"},
       {"generation_config.json", R"({"eos_token_id": 2})"},
       {"vocab.txt", "a"}},
      {{"eos_token_id", 2}});
  for (const Files& files : {kChat, Files{{"chat_template.jinja", "T"}},
                             Files{{"chat_template.json", R"({"chat_template": "T"})"}},
                             Files{{"generation_config.json", R"({"eos_token_id": [2, 5]})"}}}) {
    fs::remove_all(folder_ / "chat");
    add("chat", files);
    EXPECT_THAT(plan_merge(spec({"plain", "chat"})).notes, ElementsAre(HasSubstr("--tokenizer-from chat")));
    EXPECT_THAT(plan_merge(spec({"chat", "plain"})).notes, Not(Contains(HasSubstr("chat template"))));
  }
}

TEST_F(BesideWeights, tokenizer_and_template_come_from_the_expert_that_is_named) {
  add("plain", {{"tokenizer_config.json", "{}"}, {"vocab.txt", "a"}, {"LICENSE", "free"}},
      {{"eos_token_id", 2}});
  add("chat", kChat, {{"eos_token_id", {2, 5}}, {"hidden_size", 9}});
  MergeSpec from = spec({"plain", "chat"});
  from.tokenizer_from = "chat";
  EXPECT_THAT(plan_merge(from).notes, IsEmpty());
  merge(from, 2);
  std::set<std::string> want{"LICENSE"};
  for (const auto& [name, text] : kChat) {
    want.insert(name);
    EXPECT_EQ(read_text(folder_ / "out" / name), text);
  }
  EXPECT_EQ(result(), want) << "vocab.txt was the other tokenizer's";
  const HfFolder out(folder_ / "out");
  EXPECT_EQ(out.config().at("eos_token_id"), (nlohmann::json{2, 5}));
  EXPECT_FALSE(out.config().contains("hidden_size"));

  from.out = folder_ / "other";
  from.tokenizer_from = "nobody";
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(from); }), HasSubstr("plain, chat"));
  add("bare", {});
  MergeSpec bare = spec({"plain", "bare"});
  bare.out = folder_ / "other";
  bare.tokenizer_from = "bare";
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(bare); }), HasSubstr("has neither"));
}

TEST_F(BesideWeights, a_tokenizer_with_more_tokens_than_rows_is_refused) {
  add("plain", {});
  add("chat", {{"tokenizer.json",
                R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 8, "content": "<x>"}]})"}});
  MergeSpec from = spec({"plain", "chat"});
  from.tokenizer_from = "chat";
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(from); }),
              AllOf(HasSubstr("'<x>' as id 8"), HasSubstr("8 rows")));
}

TEST_F(BesideWeights, tokenizers_that_differ_are_a_word) {
  const auto tokenizer = [](const std::string& last) {
    return Files{{"tokenizer.json", R"({"model": {"vocab": {"a": 0, ")" + last + R"(": 1}}})"}};
  };
  add("one", tokenizer("b"));
  add("two", tokenizer("c"));
  add("same", {{"tokenizer.json", R"({ "model": {"vocab": {"b": 1, "a": 0}}})"}});
  add("lines", {{"vocab.txt", "a\nb\n"}});
  EXPECT_THAT(
      plan_merge(spec({"one", "two"})).notes,
      ElementsAre(AllOf(HasSubstr("differ in 1 of 2 tokens"), HasSubstr("id 1 is 'c' in 'two' and 'b' in"))));
  EXPECT_THAT(plan_merge(spec({"one", "same", "lines"})).notes, IsEmpty());
}

}  // namespace
}  // namespace fusegrid
