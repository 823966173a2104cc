// Models that call their tensors otherwise, and heads of other tasks.
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/checkpoints.h"

namespace fusegrid {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

at::Tensor numbers(uint64_t seed, const std::vector<int64_t>& shape) {
  const at::Tensor values = at::empty(shape, at::kFloat);
  return normal(seed, 0, 0, values.numel()).view(shape);
}

class NamesAndHeads : public testing::Test {
 protected:
  // An encoder of one layer whose names begin with `prefix`, and other tensors by their shapes.
  Weights add(const std::string& name, const std::string& prefix,
              const std::map<std::string, std::vector<int64_t>>& others = {},
              const nlohmann::json& config = {{"model_type", "bert"}}) {
    const uint64_t seed = ++models_;
    Weights weights{{prefix + "embeddings.word_embeddings.weight", numbers(seed, {6, 4})},
                    {prefix + "encoder.layer.0.output.dense.weight", numbers(seed + 100, {4, 4})}};
    for (const auto& [tensor, shape] : others) {
      weights[tensor] = numbers(seed + 200, shape);
    }
    save_hf_folder(folder_ / name, weights, config);
    return weights;
  }
  MergeSpec spec(const std::string& method, const std::optional<std::string>& base,
                 const std::vector<std::string>& experts) const {
    MergeSpec spec;
    if (base) {
      spec.base = folder_ / *base;
    }
    for (const std::string& expert : experts) {
      spec.experts.push_back({expert, folder_ / expert});
    }
    const auto [name, parameters] = parse_call(method);
    spec.methods = {{name, parameters}};
    spec.out = folder_ / "out";
    return spec;
  }
  static std::string refusal(const MergeSpec& spec) {
    return message_of<ConfigError>([&] { plan_merge(spec); });
  }
  static Weights merged(const MergeSpec& spec, int ranks) {
    merge(spec, ranks);
    Weights weights = HfFolder(spec.out).read_all();
    std::filesystem::remove_all(spec.out);  // the next plan wants a new folder
    return weights;
  }

  TemporaryFolder folder_;
  uint64_t models_ = 0;
};

TEST_F(NamesAndHeads, one_prefix_apart_is_one_model_under_the_names_of_the_base) {
  for (const auto& [ours, theirs] : std::vector<std::pair<std::string, std::string>>{
           {"", "bert."}, {"bert.", ""}, {"", "base_model.model."}, {"module.", ""}}) {
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "a");
    add("base", ours);
    const Weights expert = add("a", theirs);
    const MergeSpec task = spec("task_arithmetic{scale=1}", "base", {"a"});
    EXPECT_THAT(plan_merge(task).notes, ElementsAre(HasSubstr("have the prefix")));
    const Weights result = merged(task, 2);
    EXPECT_EQ(result.size(), expert.size());
    EXPECT_TRUE(at::allclose(result.at(ours + "encoder.layer.0.output.dense.weight"),
                             expert.at(theirs + "encoder.layer.0.output.dense.weight")));
  }
}

TEST_F(NamesAndHeads, names_that_no_prefix_explains_are_refused) {
  add("base", "");
  add("more", "bert.", {{"bert.encoder.layer.1.output.dense.weight", {4, 4}}});
  EXPECT_THAT(refusal(spec("simple_average", "base", {"more"})), HasSubstr("layer.1.output"));
  add("two", "bert.",
      {{"vision.encoder.layer.0.output.dense.weight", {4, 4}},
       {"vision.embeddings.word_embeddings.weight", {6, 4}}});
  EXPECT_THAT(refusal(spec("simple_average", "base", {"two"})), HasSubstr("lacks"));
}

TEST_F(NamesAndHeads, heads_of_other_tasks_are_named_with_the_option) {
  add("three", "bert.", {{"classifier.weight", {3, 4}}, {"classifier.bias", {3}}});
  add("two", "bert.", {{"classifier.weight", {2, 4}}, {"classifier.bias", {2}}});
  add("encoder", "bert.");
  for (const auto& base : {std::optional<std::string>(), std::optional<std::string>("encoder")}) {
    EXPECT_THAT(refusal(spec("simple_average", base, {"three", "two"})),
                AllOf(HasSubstr("'classifier.bias'"), HasSubstr("--allow-head-mismatch"),
                      Not(HasSubstr("fine-tunes of one base")), Not(HasSubstr("vocabulary"))));
  }
}

TEST_F(NamesAndHeads, all_but_the_heads_are_merged_where_that_is_allowed) {
  const std::map<std::string, std::map<std::string, std::vector<int64_t>>> heads{
      {"classes", {{"classifier.dense.weight", {4, 4}}, {"classifier.out_proj.weight", {3, 4}}}},
      {"sequential", {{"classifier.0.weight", {4, 4}}, {"classifier.3.bias", {5}}}},
      {"score", {{"score.weight", {1, 4}}}},
      {"answers", {{"qa_outputs.weight", {2, 4}}, {"qa_outputs.bias", {2}}}},
      {"language", {{"cls.predictions.bias", {6}}, {"cls.predictions.transform.dense.weight", {4, 4}}}},
      {"pooled", {{"bert.pooler.dense.weight", {4, 4}}, {"task_head.weight", {7, 4}}}},
      {"somebodys", {{"my_output.weight", {7, 4}}}}};
  const Weights base = add("base", "bert.");
  for (const auto& [name, head] : heads) {
    const Weights expert = add(name, "bert.", head);
    MergeSpec with = spec("task_arithmetic{scale=1}", "base", {name});
    EXPECT_THAT(refusal(with), HasSubstr("--allow-head-mismatch")) << name;
    with.allow_head_mismatch = true;
    EXPECT_THAT(plan_merge(with).notes, ElementsAre(HasSubstr("the result has none")));
    const Weights result = merged(with, 1);
    EXPECT_EQ(result.size(), base.size()) << name;
    for (const auto& [tensor, values] : result) {
      EXPECT_TRUE(at::allclose(values, expert.at(tensor))) << tensor;
    }
  }
}

TEST_F(NamesAndHeads, an_output_head_that_some_models_lack_is_left_out_where_that_is_allowed) {
  for (const std::string head : {"lm_head", "embed_out", "output"}) {
    std::filesystem::remove_all(folder_ / "base");
    std::filesystem::remove_all(folder_ / "expert");
    const Weights base = add("base", "", {{head + ".weight", {6, 4}}, {head + ".bias", {6}}},
                             {{"architectures", {"XForCausalLM"}}, {"tie_word_embeddings", false}});
    const Weights expert =
        add("expert", "", {{"score.weight", {1, 4}}}, {{"architectures", {"XForSequenceClassification"}}});
    MergeSpec with = spec("task_arithmetic{scale=1}", "base", {"expert"});
    EXPECT_THAT(refusal(with), AllOf(HasSubstr("'" + head + "', 'score'"), HasSubstr("--allow-head-mismatch"),
                                     Not(HasSubstr("tie_word_embeddings"))));
    with.allow_head_mismatch = true;
    EXPECT_THAT(plan_merge(with).notes, ElementsAre(HasSubstr("'" + head + "', 'score'")));
    const Weights result = merged(with, 2);
    EXPECT_EQ(result.size(), base.size() - 2);
    for (const auto& [tensor, values] : result) {
      EXPECT_TRUE(at::allclose(values, expert.at(tensor))) << tensor;
    }
  }
}

TEST_F(NamesAndHeads, an_output_head_that_may_be_tied_elsewhere_is_told_with_both_remedies) {
  add("apart", "", {{"lm_head.weight", {6, 4}}});
  add("silent", "");
  MergeSpec with = spec("simple_average", {}, {"apart", "silent"});
  EXPECT_THAT(refusal(with), AllOf(HasSubstr("'lm_head.weight'"), HasSubstr("tie_word_embeddings = true"),
                                   HasSubstr("--allow-head-mismatch")));
  with.allow_head_mismatch = true;
  EXPECT_EQ(merged(with, 1).size(), 2U);
}

TEST_F(NamesAndHeads, the_same_heads_are_merged) {
  const std::map<std::string, std::vector<int64_t>> head{{"classifier.weight", {3, 4}}};
  const Weights a = add("a", "bert.", head);
  const Weights b = add("b", "bert.", head);
  MergeSpec average = spec("simple_average", {}, {"a", "b"});
  average.allow_head_mismatch = true;
  EXPECT_THAT(plan_merge(average).notes, IsEmpty());
  const Weights result = merged(average, 1);
  EXPECT_TRUE(at::allclose(result.at("classifier.weight"),
                           (a.at("classifier.weight") + b.at("classifier.weight")) / 2));
}

TEST_F(NamesAndHeads, what_is_no_head_is_refused_with_the_option_too) {
  add("base", "bert.");
  const std::vector<std::map<std::string, std::vector<int64_t>>> others{
      {{"bert.encoder.layer.1.output.dense.weight", {4, 4}}},
      {{"vision_tower.patch.weight", {4, 4}}},
      {{"bert.embeddings.extra.weight", {4, 4}}},
      {{"final_norm.weight", {4}}}};
  for (const auto& other : others) {
    add("other", "bert.", other);
    MergeSpec with = spec("simple_average", "base", {"other"});
    with.allow_head_mismatch = true;
    EXPECT_THAT(refusal(with), HasSubstr(other.begin()->first));
    std::filesystem::remove_all(folder_ / "other");
  }
}

}  // namespace
}  // namespace fusegrid
