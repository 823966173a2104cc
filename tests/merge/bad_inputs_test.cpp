// Inputs that are wrong, odd, or other names for one file; see docs/merge_inputs.md.
#include <fstream>

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "comm/agreement.h"
#include "core/errors.h"
#include "merge/checkpoints.h"
#include "merge/manifest.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;

void expect_part(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

std::string refusal(const MergeSpec& spec) {
  return message_of<ConfigError>([&] { plan_merge(spec); });
}

TEST(MergeInput, missing_and_extra_tensors_are_named) {
  Checkpoints models(2, at::kFloat);
  Weights other = models.zoo.experts[0];
  for (const std::string name : {"bias", "embed.weight", "head.weight", "norm", "scalar"}) {
    other["other." + name] = other.at(name);
    other.erase(name);
  }
  models.add("other", other, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.experts[1].path = models.folder / "other";
  const std::string message = refusal(spec);
  expect_part(message, "lacks bias, embed.weight, head.weight, norm and 1 more");
  expect_part(message, "has also other.bias");
}

TEST(MergeInput, tied_weights_fit_where_all_models_tie_them) {
  Checkpoints models(1, at::kFloat);
  Weights base = models.zoo.base;
  base["lm_head.weight"] = base.at("embed.weight");
  models.add("untied", base, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.base = models.folder / "untied";
  expect_part(refusal(spec), "'lm_head.weight' is in '");
  expect_part(refusal(spec), "tie_word_embeddings");
}

TEST(MergeInput, shapes_that_no_option_makes_fit_are_named_without_a_hint) {
  Checkpoints models(1, at::kFloat);
  Weights narrow = models.zoo.experts[0];
  narrow["embed.weight"] = narrow.at("embed.weight").narrow(1, 0, 400).contiguous();
  models.add("narrow", narrow, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.experts[0].path = models.folder / "narrow";
  for (const bool allowed : {false, true}) {
    spec.allow_vocabulary_mismatch = allowed;
    const std::string message = refusal(spec);
    expect_part(message, "'embed.weight' must have one shape in all models");
    EXPECT_EQ(message.find("--allow-vocabulary-mismatch"), std::string::npos) << message;
  }
}

TEST(MergeInput, quantised_and_complex_models_are_refused_in_the_plan) {
  Checkpoints models(2, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  Weights packed = models.zoo.experts[0];
  packed["head.qweight"] = packed.at("head.weight").to(at::kInt);
  models.add("packed", packed, at::kFloat);
  spec.experts[1].path = models.folder / "packed";
  expect_part(refusal(spec), "packed' is quantised: 'head.qweight' is Int");
  save_hf_folder(models.folder / "says", models.zoo.experts[0],
                 {{"quantization_config", {{"quant_method", "awq"}, {"bits", 4}}}});
  spec.experts[1].path = models.folder / "says";
  expect_part(refusal(spec), "says' is quantised: config.json has quantization_config (awq)");
  Weights complex = models.zoo.experts[0];
  complex["norm"] = complex.at("norm").to(at::kComplexFloat);
  models.add("complex", complex, at::kFloat);
  spec.experts[1].path = models.folder / "complex";
  expect_part(refusal(spec),
              "tensor 'norm' of '" + (models.folder / "complex").string() + "' has complex numbers");
}

TEST(MergeInput, compat_computes_in_three_dtypes) {
  for (const at::ScalarType dtype : {at::kFloat8_e4m3fn, at::kDouble}) {
    Checkpoints models(2, dtype);
    MergeSpec spec = models.spec({"task_arithmetic"});
    spec.precision = MergePrecision::kCompat;
    expect_part(refusal(spec), "--precision compat computes in bfloat16, float16 or float32");
    spec.dtype = at::kBFloat16;
    expect_part(refusal(spec), "--precision compat computes in bfloat16, float16 or float32");
  }
}

TEST(MergeInput, dtypes_may_differ_and_the_output_has_that_of_the_base) {
  Checkpoints models(2, at::kBFloat16);
  models.zoo.experts[0].at("norm").add_(1e-5);  // no numbers of bfloat16
  models.add("wide", models.zoo.experts[0], at::kFloat);
  models.zoo.experts[1] = converted(converted(models.zoo.experts[1], at::kHalf), at::kFloat);
  models.add("half", models.zoo.experts[1], at::kHalf);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.experts[0].path = models.folder / "wide";
  spec.experts[1].path = models.folder / "half";
  merge(spec, 2);
  EXPECT_EQ(folder_digest(spec.out),
            digest(converted(models.zoo.fuse("task_arithmetic").weights, at::kBFloat16)));
}

TEST(MergeInput, experts_that_are_links_to_one_model_are_refused) {
  const Checkpoints models(2, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  const fs::path twin = models.folder / "twin";
  fs::create_directory(twin);
  for (const auto& entry : fs::directory_iterator(models.folder / "expert0")) {
    fs::create_hard_link(entry.path(), twin / entry.path().filename());
  }
  spec.experts[1] = {"twin", twin};
  expect_part(refusal(spec), "'twin' and 'expert0' are the same files");

  fs::create_directory_symlink(models.folder / "expert0", models.folder / "link");
  spec.experts[1] = {"link", models.folder / "link"};
  expect_part(refusal(spec), "must be given once");

  // another model that shares a file which says nothing of the weights
  fs::remove(models.folder / "expert1" / "config.json");
  fs::create_hard_link(models.folder / "expert0" / "config.json", models.folder / "expert1" / "config.json");
  EXPECT_NO_THROW(plan_merge(models.spec({"task_arithmetic"})));
}

TEST(MergeInput, outputs_are_never_written_through_links_to_inputs) {
  const Checkpoints models(2, at::kFloat);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.shard_bytes.reset();  // one file, of the inputs' name and size
  const auto die = [](double) { throw std::runtime_error("killed"); };
  EXPECT_THROW(merge(spec, 1, die), std::runtime_error);
  const fs::path part = spec.out.string() + ".partial/model.safetensors.part";
  ASSERT_TRUE(fs::exists(part));
  fs::remove(part);
  fs::create_hard_link(models.folder / "base" / "model.safetensors", part);
  fs::create_hard_link(models.folder / "base" / "config.json", spec.out.string() + ".partial/config.json");
  const std::string before = folder_digest(models.folder / "base");
  const std::string config = read_text(models.folder / "base" / "config.json");
  merge(spec, 2);
  EXPECT_EQ(folder_digest(models.folder / "base"), before);
  EXPECT_EQ(read_text(models.folder / "base" / "config.json"), config);
  EXPECT_EQ(folder_digest(spec.out), digest(models.zoo.fuse("task_arithmetic").weights));
}

TEST(MergeInput, an_output_in_the_place_of_an_input_is_refused) {
  const Checkpoints models(2, at::kFloat);
  expect_part(refusal(models.spec({"task_arithmetic"}, "expert0")), "new folder");
  fs::rename(models.folder / "expert1", models.folder / "result.partial");
  MergeSpec spec = models.spec({"task_arithmetic"}, "result");
  spec.experts[1].path = models.folder / "result.partial";
  expect_part(refusal(spec), "something else is there");
  EXPECT_FALSE(fs::exists(models.folder / "result.partial" / ".fusegrid"));
}

TEST(MergeInput, files_outside_the_folder_are_not_read) {
  const Checkpoints models(1, at::kFloat);
  const fs::path expert = models.folder / "expert0";
  fs::rename(expert / "model.safetensors", models.folder / "elsewhere.safetensors");
  const auto index_of = [](const std::string& file) {
    return R"({"metadata": {}, "weight_map": {"norm": ")" + file + R"("}})";
  };
  const MergeSpec spec = models.spec({"task_arithmetic"});
  for (const std::string file : {"../elsewhere.safetensors", "/etc/model.safetensors"}) {
    write_text(expert / "model.safetensors.index.json", index_of(file));
    const std::string message = message_of<DataError>([&] { plan_merge(spec); });
    expect_part(message, "weight_map must name files of the folder");
  }
  fs::remove(expert / "model.safetensors.index.json");
  fs::create_symlink(models.folder / "elsewhere.safetensors", expert / "model.safetensors");
  expect_part(refusal(spec), "a symbolic link must end in");
}

TEST(MergeInput, a_file_that_ends_early_is_damaged) {
  const Checkpoints models(1, at::kFloat);
  const fs::path file = models.folder / "expert0" / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_THROW(plan_merge(models.spec({"task_arithmetic"})), DataError);
}

TEST(MergePlan, knows_what_an_interrupted_merge_has_finished) {
  const Checkpoints models(2, at::kBFloat16);
  MergeSpec spec = models.spec({"task_arithmetic"});
  spec.shard_bytes = 400;  // a file per tensor: more than one rank makes side by side
  EXPECT_FALSE(plan_merge(spec).unfinished);
  const auto die = [](double share) {
    if (share > 0.6) {
      throw std::runtime_error("killed");
    }
  };
  EXPECT_THROW(merge(spec, 1, die), std::runtime_error);
  const auto finished = plan_merge(spec).unfinished;
  EXPECT_GT(finished, size_t{0});
  write_text(spec.out.string() + ".partial/.fusegrid/0-9.tmp.1", "a record that was not finished");
  EXPECT_EQ(plan_merge(spec).unfinished, finished);
  expect_part(refusal(models.spec({"task_arithmetic{scale=1}"})), "unfinished merge of other inputs");
}

TEST(MergePlan, names_folders_that_every_file_system_and_tool_can_take) {
  const Checkpoints models(2, at::kFloat);
  const MergePlan plan =
      plan_merge(models.spec({"weighted_average{weights=1:2}", "weighted_average{weights=2:1}"}));
  EXPECT_EQ(plan.outputs[0].folder, "weighted_average-weights=1+2");
  MergeSpec spec = models.spec({"simple_average", "weighted_average"});
  for (size_t i = 2; i < 80; ++i) {
    spec.experts.push_back({"more" + std::to_string(i), models.folder / ("more" + std::to_string(i))});
    fs::copy(models.folder / "expert0", spec.experts.back().path);
  }
  std::string weights = "0.125";
  for (size_t i = 1; i < 80; ++i) {
    weights += ":0.125";
  }
  spec.methods[1].parameters["weights"] = weights;
  const std::string folder = plan_merge(spec).outputs[1].folder;
  EXPECT_LE(folder.size(), 200U);
  EXPECT_TRUE(folder.starts_with("weighted_average-weights=0.125+")) << folder;
}

}  // namespace
}  // namespace fusegrid
