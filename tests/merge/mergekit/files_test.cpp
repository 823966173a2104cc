// Files of mergekit: what is refused, with the line, and what is merged. Bytes are compared with mergekit's in
// tests/mergekit.
#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "merge/manifest.h"
#include "merge/mergekit/models.h"

namespace fusegrid::mergekit {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

const std::string kTies = "merge_method: ties\nbase_model: @base\n";
const std::string kLinear = "merge_method: linear\nparameters: {weight: 1}\n";

struct Wrong {
  std::string text;
  std::string place;    // "c.yml:3: "
  std::string message;  // part of it
};

TEST_F(Files, that_are_wrong_are_refused_with_the_line) {
  const std::vector<Wrong> all{
      {"models: [a", "c.yml:1: ", "it is no YAML"},
      {"- a", "c.yml:1: ", "must be a mapping, but it is a list"},
      {"merge_method: ties\nmerge_method: ties", "c.yml:2: ", "'merge_method' must be given once"},
      {"base_model: @base\nmerge_metod: ties", "c.yml:2: ", "did you mean 'merge_method'?"},
      {"base_model: @base", "c.yml:1: ", "needs 'merge_method'"},
      {"merge_method: teis\nmodels: [{model: @a}]", "c.yml:1: ", "did you mean 'ties'?"},
      {"merge_method: ties", "c.yml:1: ", "exactly one of 'models', 'slices' and 'modules'"},
      {kTies + "models: 3", "c.yml:3: ", "'models' must be a list, but it is '3'"},
      {kTies + "models: []", "c.yml:3: ", "at least one entry"},
      {kTies + "models:\n - {model: @a}\n - {modle: @b}", "c.yml:5: ", "did you mean 'model'?"},
      {kTies + "models:\n - model: @none", "c.yml:4: ", "models of a hub must be downloaded first"},
      {kTies + "models:\n - model: @a+@b", "c.yml:4: ", "--method passthrough --base"},
      {kLinear + "models:\n - model: @a\n - model: @a", "c.yml:5: ", "stands twice"},
      {kTies + "models:\n - model: @a", "c.yml:4: ", "needs parameter 'weight' for tensor"},
      {kTies + "models:\n - model: @a\n   parameters:\n    weight: [{filter: mlp, value: 1}]",
       "c.yml:4: ", "needs parameter 'weight' for tensor 'lm_head.weight'"},
      {kTies + "models:\n - model: @a\n   parameters:\n    weight: heavy",
       "c.yml:6: ", "must be a number, but it is 'heavy'"},
      {kTies + "models:\n - model: @a\n   parameters:\n    weight: [0, heavy]", "c.yml:6: ", "'heavy'"},
      {kTies + "models:\n - model: @a\n   parameters: {weight: 010}", "c.yml:5: ", "'010'"},
      {kTies + "models: [{model: @a}]\nparameters:\n  wieght: 1", "c.yml:5: ", "did you mean 'weight'?"},
      {kTies + "models: [{model: @a}]\nparameters:\n  weight: 1\n  normalize: maybe",
       "c.yml:6: ", "must be true or false, but it is 'maybe'"},
      {kTies + "models: [{model: @a}]\nparameters:\n  weight: 1\n  density: [0.5, 2]",
       "c.yml:6: ", "must lie in [0.001, 1], but it is 2"},
      {kTies + "models: [{model: @a}]\nparameters:\n  weight: [{filter: mlp}]", "c.yml:5: ", "needs 'value'"},
      {kTies + "models: [{model: @a}]\nparameters:\n  weight: [1, {value: 2}]", "c.yml:5: ", "a mapping"},
      {kTies + "models:\n - model: @a\n   parameters:\n    lambda: 2", "c.yml:6: ", "is no model's"},
      {"merge_method: slerp\nparameters: {t: 0.5, density: 1}\nbase_model: @a\nmodels: [{model: @b}]",
       "c.yml:2: ", "has no parameter 'density'"},
      {"merge_method: slerp\nbase_model: @a\nmodels: [{model: @b}]", "c.yml:1: ", "needs parameter 't'"},
      {"merge_method: slerp\nbase_model: @a\nmodels: [{model: @b}, {model: @base}]\nparameters: {t: 1}",
       "c.yml:3: ", "takes 2 models, but here are 3"},
      {"merge_method: ties\nmodels: [{model: @a}]\nparameters: {weight: 1}",
       "c.yml:1: ", "needs 'base_model'"},
      {kLinear + "models: [{model: @a}]\ndtype: float64", "c.yml:4: ", "bfloat16, float16 or float32"},
      {kLinear + "models: [{model: @a}]\nout_dtype: int8", "c.yml:4: ", "'out_dtype'"},
      {kLinear + "slices:\n - sources:\n   - model: @a\n     layer_range: [0, 5]",
       "c.yml:5: ", "must end at 4 or before"},
      {kLinear + "slices:\n - sources:\n   - model: @a\n     layer_range: [2, 2]",
       "c.yml:6: ", "at least one layer"},
      {kLinear + "slices:\n - sources:\n   - model: @a\n     layer_range: [0, x]",
       "c.yml:6: ", "whole number"},
      {kLinear + "slices:\n - sources:\n   - model: @a", "c.yml:5: ", "needs 'layer_range"},
      {kLinear + "slices:\n - sources:\n   - {model: @a, layer_range: [0, 2]}\n   - {model: @b, layer_range: "
                 "[0, 3]}",
       "c.yml:6: ", "as many layers"},
      {kTies + "slices:\n - sources:\n   - {model: @a, layer_range: [0, 2]}",
       "c.yml:4: ", "the base must be one of the sources"},
      {kLinear + "slices:\n - residual_weight: 1\n   sources: [{model: @a, layer_range: [0, 2]}]",
       "c.yml:4: ", "'residual_weight' is not offered"},
      {kLinear + "modules:\n  text: {models: [{model: @a}]}", "c.yml:4: ", "the one module 'default'"},
      {kLinear + "models: [{model: @a}]\nchat_template: chatml", "c.yml:4: ", "write the text"},
      {kLinear + "models: [{model: @a}]\ntokenizer_source: union\ntokenizer: {source: base}",
       "c.yml:5: ", "say the same"},
      {kLinear + "models: [{model: @a}]\ntokenizer:\n  tokens:\n    x: {source: {kind: none}}",
       "c.yml:6: ", "zero or model_token"},
      {kLinear + "models: [{model: @a}]\nname: a", "c.yml:1: ", "one document of a file must have no 'name'"},
      {kLinear + "models: [{model: @a}]\n---\n" + kLinear + "models: [{model: @a}]",
       "c.yml:5: ", "a second one"},
      {kLinear + "name: x\nmodels: [{model: y}]\n---\n" + kLinear + "name: y\nmodels: [{model: x}]\n---\n" +
           kLinear + "models: [{model: x}]",
       "c.yml:9: ", "documents must not need each other"},
      {"base_model: @base\nexperts: [{source_model: @a}]", "c.yml:1: ", "'gate_mode' must be random"},
      {"base_model: @base\ngate_mode: random\nexperts:\n - source_model: @a\n   noise_scale: 0.1",
       "c.yml:5: ", "'noise_scale' is not offered"},
  };
  for (const Wrong& wrong : all) {
    const std::string message = refusal(wrong.text);
    EXPECT_THAT(message, StartsWith(wrong.place)) << wrong.text;
    EXPECT_THAT(message, HasSubstr(wrong.message)) << wrong.text;
  }
}

// A tensor of the result, computed in float32.
at::Tensor merged(const MergeSpec& spec, const std::string& tensor) {
  if (!std::filesystem::exists(spec.out)) {
    merge(spec, 1);
  }
  return HfFolder(spec.out).read(tensor);
}

TEST_F(Files, give_tensors_parameters_by_filter_and_layer) {
  const MergeSpec mixed = spec(
      "merge_method: linear\nmodels:\n - {model: @a, parameters: {weight: [{filter: mlp, value: [0, 1]}, "
      "{value: 2}]}}\n"
      " - {model: @b, parameters: {weight: 1}}\nparameters: {normalize: false}\n");
  const Weights a = model('a');
  const Weights b = model('b');
  for (const auto& [name, weight] :
       std::vector<std::pair<std::string, double>>{{"model.embed_tokens.weight", 2},
                                                   {"lm_head.weight", 2},
                                                   {"model.layers.0.mlp.up_proj.weight", 0},
                                                   {"model.layers.1.mlp.up_proj.weight", 1.0 / 3},
                                                   {"model.layers.3.mlp.up_proj.weight", 1},
                                                   {"model.layers.3.self_attn.q_proj.weight", 2}}) {
    EXPECT_TRUE(merged(mixed, name).allclose(a.at(name) * weight + b.at(name), 1e-6, 1e-6)) << name;
  }
}

TEST_F(Files, have_the_same_bits_on_several_ranks) {
  const std::string text =
      kTies +
      "parameters: {weight: [0.2, 0.9], density: [{filter: mlp, value: 0.4}, {value: 1}]}\n"
      "models: [{model: @a}, {model: @b}]\n";
  const MergeSpec one = spec(text);
  const MergeSpec three = spec(text, "three");
  merge(one, 1);
  merge(three, 3);
  EXPECT_GT(one.methods.front().parts.size(), 2U);
  EXPECT_EQ(folder_digest(one.out), folder_digest(three.out));
  const auto manifest = nlohmann::json::parse(read_text(one.out / kManifestFile));
  EXPECT_EQ(manifest.at("parts").size(), one.methods.front().parts.size());
}

TEST_F(Files, continue_where_they_were_interrupted) {
  const std::string text =
      kTies +
      "parameters: {weight: [0.2, 0.9], density: [{filter: mlp, value: 0.4}, {value: 1}]}\n"
      "models: [{model: @a}, {model: @b}]\n";
  MergeSpec whole = spec(text);
  whole.shard_bytes = 40;  // a file for each tensor
  merge(whole, 1);
  MergeSpec interrupted = spec(text, "interrupted");
  interrupted.shard_bytes = 40;
  const auto die = [](double share) {
    if (share > 0.9) {
      throw std::runtime_error("killed");
    }
  };
  EXPECT_THROW(merge(interrupted, 1, die), std::exception);
  EXPECT_FALSE(std::filesystem::exists(interrupted.out));
  const MergeReport report = merge(interrupted, 2);
  EXPECT_GT(report.continued_files, 0U);
  EXPECT_EQ(folder_digest(whole.out), folder_digest(interrupted.out));
}

TEST_F(Files, stack_slices_of_different_numbers_of_models) {
  const MergeSpec stack = spec(
      "merge_method: linear\nparameters: {weight: 1}\nslices:\n"
      " - sources: [{model: @a, layer_range: [2, 4]}]\n"
      " - sources: [{model: @b, layer_range: [0, 1]}, {model: @base, layer_range: [3, 4], parameters: "
      "{weight: 3}}]\n");
  const Weights a = model('a');
  const Weights b = model('b');
  const Weights base = model(0);
  const std::string mlp = ".mlp.up_proj.weight";
  EXPECT_TRUE(merged(stack, "model.layers.1" + mlp).equal(a.at("model.layers.3" + mlp)));
  EXPECT_TRUE(
      merged(stack, "model.layers.2" + mlp)
          .allclose((b.at("model.layers.0" + mlp) + base.at("model.layers.3" + mlp) * 3) / 4, 1e-6, 1e-6));
  EXPECT_TRUE(merged(stack, "model.embed_tokens.weight").equal(a.at("model.embed_tokens.weight")));
  // behind the layers: the last slice's, of as many models as the first has
  EXPECT_TRUE(merged(stack, "lm_head.weight").equal(b.at("lm_head.weight")));
  EXPECT_EQ(HfFolder(stack.out).config().at("num_hidden_layers"), 3);
}

TEST_F(Files, without_differences_between_tensors_are_one_call) {
  const MergeSpec plain = spec(kTies +
                               "models:\n - {model: @a, parameters: {weight: 0.5}}\n"
                               " - {model: @b, parameters: {weight: 1e-1, density: 0.25}}\ndtype: float32\n");
  ASSERT_EQ(plain.methods.size(), 1U);
  EXPECT_TRUE(plain.methods.front().parts.empty());
  EXPECT_EQ(plain.methods.front().parameters.at("weights"), "0.5:0.1");
  EXPECT_EQ(plain.methods.front().parameters.at("density"), "1.0:0.25");
  EXPECT_EQ(plain.methods.front().parameters.at("merge"), "mean");
  EXPECT_EQ(plain.model_dtype, at::kFloat);
}

TEST_F(Files, of_several_documents_are_put_in_order) {
  const Stages stages = read_stages(file(kLinear + "models: [{model: two}]\n---\n" + kLinear +
                                         "name: two\nmodels: [{model: one}, {model: @b}]\n---\n" + kLinear +
                                         "name: one\nmodels: [{model: @a}]\n"),
                                    folder / "out");
  std::vector<std::filesystem::path> order;
  for (const Stage& stage : stages.order) {
    order.push_back(stage.out.filename());
  }
  EXPECT_THAT(order, testing::ElementsAre("out.one", "out.two", "out"));
}

TEST_F(Files, of_mixtures_become_a_mixture) {
  const MergeSpec mixture = spec(
      "base_model: @base\ngate_mode: random\ndtype: bfloat16\nexperts_per_token: 1\nexperts:\n"
      " - {source_model: @a, positive_prompts: [x]}\n - source_model: @b\n");
  EXPECT_EQ(mixture.methods.front().name, "passthrough");
  EXPECT_EQ(mixture.dtype, at::kBFloat16);
  EXPECT_THAT(mixture.experts.front().path.string(), StartsWith("moe{experts_per_token=1,seed=0}("));
}

TEST_F(Files, may_say_truth_values_and_numbers_as_python_does) {
  const MergeSpec spoken =
      spec(kTies + "models: [{model: @a}]\nparameters: {weight: +2, normalize: off, rescale: Yes}");
  const ParamText& parameters = spoken.methods.front().parameters;
  EXPECT_EQ(parameters.at("merge"), "sum");
  EXPECT_EQ(parameters.at("rescale"), "l1");
  EXPECT_EQ(parameters.at("weights"), "2");
}

TEST_F(Files, may_share_parts_by_anchors) {
  const std::string shared =
      "merge_method: linear\nmodels:\n - model: @a\n   parameters: &common {weight: 0.25}\n";
  const MergeSpec alias = spec(shared + " - {model: @b, parameters: *common}\n");
  EXPECT_EQ(alias.methods.front().parameters.at("weights"), "0.25:0.25");
  const MergeSpec merged = spec(
      "merge_method: ties\nbase_model: @base\nmodels:\n"
      " - {model: @a, parameters: &common {weight: 0.25, density: 0.5}}\n"
      " - {model: @b, parameters: {weight: 1, <<: *common}}\n");
  EXPECT_EQ(merged.methods.front().parameters.at("weights"), "0.25:1");
  EXPECT_EQ(merged.methods.front().parameters.at("density"), "0.5:0.5");
  EXPECT_THAT(refusal(shared + " - {model: @b, parameters: {<<: 3}}\n"), StartsWith("c.yml:5: '<<' must be"));
  // each alias twice as large as the one before
  std::string text = "a: &a0 [1, 1]\n";
  for (int i = 1; i < 25; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + ", " + before + "]\n";
  }
  EXPECT_THAT(refusal(text), HasSubstr("at most 100000 values"));
}

TEST_F(Files, choose_truth_values_of_a_gradient) {
  const MergeSpec chosen =
      spec(kTies + "models: [{model: @a}]\nparameters: {weight: 1, normalize: [true, false, true]}");
  for (const MergePart& part : chosen.methods.front().parts) {
    const bool is_inner = part.tensors.contains("model.layers.2.mlp.up_proj.weight");
    EXPECT_EQ(part.parameters.at("merge"), is_inner ? "sum" : "mean");
  }
}

}  // namespace
}  // namespace fusegrid::mergekit
