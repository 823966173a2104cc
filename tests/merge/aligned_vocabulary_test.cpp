#include "merge/aligned_vocabulary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"

namespace fusegrid::aligned_vocabulary_test {
namespace {

using testing::HasSubstr;

// Models whose rows are all of one number each: base 0, 1, ...; a 10, 11, ...; b 100, 101, ...
class AlignedVocabulary : public testing::Test {
 protected:
  AlignedVocabulary() {
    save("base", {"one", "two", "three"}, 0, 3);
    save("a", {"three", "two", "mine"}, 10, 4);
    save("b", {"two", "ours"}, 100, 2);
    save("c", {"ours", "two"}, 1000, 2);
  }

  void save(const std::string& name, const std::vector<std::string>& tokens, double first,
            int64_t rows) const {
    at::Tensor table = at::empty({rows, 2}, at::kFloat);
    for (int64_t row = 0; row < rows; ++row) {
      table[row].fill_(first + static_cast<double>(row));
    }
    nlohmann::json vocabulary;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      vocabulary[tokens[i]] = i;
    }
    const nlohmann::json added = {{"id", tokens.size() - 1}, {"content", tokens.back()}, {"special", true}};
    const nlohmann::json tokenizer = {{"model", {{"vocab", vocabulary}}}, {"added_tokens", {added}}};
    const nlohmann::json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                   {"chat_template", "{{ '" + name + "' }}"}};
    save_hf_folder(folder / name,
                   {{"model.embed_tokens.weight", table},
                    {"lm_head.weight", table + 0.5},
                    {"model.norm.weight", at::full({2}, first, at::kFloat)}},
                   {{"model_type", "llama"}, {"vocab_size", rows}},
                   {{"tokenizer.json", tokenizer.dump()}, {"tokenizer_config.json", config.dump()}});
  }

  MergeSpec spec(const std::vector<std::string>& experts, bool with_base) const {
    MergeSpec spec;
    VocabularySpec vocabulary;
    if (with_base) {
      spec.base = folder / "base";
      vocabulary.base = folder / "base";
      vocabulary.models.push_back(folder / "base");
    }
    for (const std::string& expert : experts) {
      spec.experts.push_back({expert, folder / expert});
      vocabulary.models.push_back(folder / expert);
    }
    spec.methods = {{"simple_average", {}}};
    spec.precision = MergePrecision::kCompat;
    spec.vocabulary = vocabulary;
    spec.out = folder / "out";
    spec.threads = 0;
    return spec;
  }

  // First entries of the rows that a model has in the result's vocabulary.
  static std::vector<double> rows(const ModelSource& model,
                                  const std::string& tensor = "model.embed_tokens.weight") {
    const TensorInfo& info = *find_tensor(model, tensor);
    at::Tensor values = at::empty(info.shape, info.dtype);
    // in pieces that begin inside of rows
    for (int64_t begin = 0; begin < values.numel(); begin += 3) {
      const int64_t count = std::min(int64_t{3}, values.numel() - begin);
      model.read_range(tensor, begin, count, values.view({-1}).narrow(0, begin, count).mutable_data_ptr());
    }
    std::vector<double> first;
    for (int64_t row = 0; row < info.shape[0]; ++row) {
      EXPECT_EQ(values[row][0].item<double>(), values[row][1].item<double>());
      first.push_back(values[row][0].item<double>());
    }
    return first;
  }

  TemporaryFolder folder;
};

TEST_F(AlignedVocabulary, of_a_union_has_the_tokens_of_all_in_the_order_of_the_models) {
  const MergeSpec spec = this->spec({"a", "b"}, true);
  const OutputTokens tokens = output_tokens(*spec.vocabulary, spec.reading());
  EXPECT_THAT(tokens.tokens, testing::ElementsAre("one", "two", "three", "mine", "ours"));
  ASSERT_EQ(tokens.added.size(), 2U);
  EXPECT_EQ(tokens.added[0].at("id"), 3);
  EXPECT_EQ(tokens.added[0].at("special"), true);  // as in a
}

TEST_F(AlignedVocabulary, takes_rows_of_the_base_or_of_the_only_owner) {
  const MergePlan plan = plan_merge(spec({"a", "b"}, true));
  EXPECT_THAT(rows(*plan.inputs.base), testing::ElementsAre(0, 1, 2, 12, 101));
  EXPECT_THAT(rows(*plan.inputs.experts[0]), testing::ElementsAre(0, 11, 10, 12, 101));
  EXPECT_THAT(rows(*plan.inputs.experts[1]), testing::ElementsAre(0, 100, 2, 12, 101));
  EXPECT_THAT(rows(*plan.inputs.experts[1], "lm_head.weight"),
              testing::ElementsAre(0.5, 100.5, 2.5, 12.5, 101.5));
  EXPECT_EQ(plan.inputs.config.at("vocab_size"), 5);
  EXPECT_EQ(nlohmann::json::parse(plan.small.made.at("tokenizer.json")).at("added_tokens").size(), 3U);
}

TEST_F(AlignedVocabulary, takes_the_mean_where_there_is_no_base) {
  MergeSpec spec = this->spec({"a", "b", "c"}, false);
  spec.vocabulary->model = folder / "c";
  const MergePlan plan = plan_merge(spec);
  EXPECT_THAT(rows(*plan.inputs.experts[0]), testing::ElementsAre((101 + 1000) / 2.0, 11));
  EXPECT_THAT(rows(*plan.inputs.experts[2]), testing::ElementsAre(1000, 1001));
}

TEST_F(AlignedVocabulary, follows_rules_and_fills_up_rows) {
  MergeSpec spec = this->spec({"a", "b"}, true);
  spec.vocabulary->model = folder / "base";
  spec.vocabulary->pad_to_multiple_of = 5;
  TokenRule of_a{.token = "one",
                 .kind = TokenRule::Kind::kTokenOfModel,
                 .model = folder / "a",
                 .other_token = "mine",
                 .other_id = {},
                 .force = true,
                 .origin = "c.yml:3"};
  TokenRule new_one{.token = "new",
                    .kind = TokenRule::Kind::kZero,
                    .model = {},
                    .other_token = {},
                    .other_id = {},
                    .force = false,
                    .origin = "c.yml:4"};
  spec.vocabulary->rules = {of_a, new_one};
  const MergePlan plan = plan_merge(spec);
  EXPECT_THAT(rows(*plan.inputs.base), testing::ElementsAre(12, 1, 2, 0, (12 + 1 + 2) / 4.0));
  spec.vocabulary->rules[0].other_token = "ours";
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(spec); }),
              HasSubstr("c.yml:3: the row of token 'one'"));
}

TEST_F(AlignedVocabulary, refuses_tokens_beyond_the_rows_and_models_without_a_tokenizer) {
  save("short", {"one", "two", "three"}, 0, 2);
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(spec({"short"}, true)); }),
              HasSubstr("a row for each token"));
  save_hf_folder(folder / "bare", {{"model.embed_tokens.weight", at::full({2, 2}, 1, at::kFloat)}},
                 {{"model_type", "llama"}});
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(spec({"bare"}, false)); }),
              HasSubstr("must have a tokenizer"));
}

TEST_F(AlignedVocabulary, merges_what_stands_for_one_token) {
  MergeSpec spec = this->spec({"b", "c"}, false);
  merge(spec, 2);
  const at::Tensor table = HfFolder(spec.out).read("model.embed_tokens.weight");
  EXPECT_EQ(table[0][0].item<double>(), (100 + 1001) / 2.0);  // two
  EXPECT_EQ(table[1][0].item<double>(), (101 + 1000) / 2.0);  // ours
}

TEST_F(AlignedVocabulary, goes_with_a_chat_template) {
  MergeSpec spec = this->spec({"a", "b"}, false);
  spec.chat_template = "auto";  // each model has its own, so the first one's
  MergePlan plan = plan_merge(spec);
  EXPECT_EQ(plan.small.made.at("chat_template.jinja"), "{{ 'a' }}");
  EXPECT_FALSE(nlohmann::json::parse(plan.small.made.at("tokenizer_config.json")).contains("chat_template"));
  spec.chat_template = "{{ messages }}";
  merge(spec, 1);
  EXPECT_EQ(read_text(spec.out / "chat_template.jinja"), "{{ messages }}");
}

}  // namespace
}  // namespace fusegrid::aligned_vocabulary_test
