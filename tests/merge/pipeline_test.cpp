#include "merge/pipeline.h"

#include <cmath>

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mm.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "comm/agreement.h"
#include "core/errors.h"
#include "merge/manifest.h"
#include "merge/pipelines.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::string refused(const MergeSpec& spec) {
  const std::string message = message_of<Error>([&] { plan_pipeline(spec); });
  EXPECT_FALSE(fs::exists(spec.out));
  EXPECT_FALSE(fs::exists(spec.out.string() + ".partial"));
  return message;
}

bool has_note(const PipelinePlan& plan, const std::string& part) {
  return std::any_of(plan.notes.begin(), plan.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

class PipelineMerge : public testing::Test {
 protected:
  PipelineMerge() {
    models.add("a", 2);
    models.add("b", 3);
  }
  fs::path at(const std::string& name) const { return models.folder / name; }
  MergeSpec both(const std::string& call, const std::string& out = "out") const {
    return models.spec({at("a"), at("b")}, call, out);
  }
  Weights weights(const std::string& folder) const { return HfFolder(at(folder)).read_all(); }

  Pipelines models;
};

TEST_F(PipelineMerge, merges_denoiser_and_text_encoder_and_keeps_the_rest) {
  merge_pipeline(both("task_arithmetic{scale=0.5}"));
  for (const std::string component : {"unet", "text_encoder"}) {
    const Weights base = weights("base/" + component);
    const Weights a = weights("a/" + component);
    const Weights b = weights("b/" + component);
    for (const auto& [name, merged] : weights("out/" + component)) {
      const at::Tensor expected =
          base.at(name) + 0.5 * ((a.at(name) - base.at(name)) + (b.at(name) - base.at(name)));
      EXPECT_TRUE(at::allclose(merged, expected, 1e-5, 1e-6)) << component << " " << name;
    }
  }
  EXPECT_TRUE(fs::exists(at("out/unet/diffusion_pytorch_model.safetensors")));
  EXPECT_TRUE(fs::exists(at("out/text_encoder/model.safetensors")));
  for (const std::string file :
       {"vae/diffusion_pytorch_model.safetensors", "vae/config.json", "model_index.json",
        "scheduler/scheduler_config.json", "tokenizer/merges.txt"}) {
    EXPECT_EQ(read_text(at("out/" + file)), read_text(at("base/" + file))) << file;
  }
  EXPECT_FALSE(fs::exists(at("out.partial")));
  const auto record = nlohmann::json::parse(read_text(at("out/fusegrid_pipeline.json")));
  EXPECT_EQ(record.at("merged").size(), 2);
  EXPECT_EQ(record.at("kept").at("vae"), at("base/vae").string());
  const auto verified = verify_merged(at("out"));
  EXPECT_EQ(verified.size(), 2);
  EXPECT_TRUE(verified.at(0).differences.empty());
}

TEST_F(PipelineMerge, is_the_merge_of_each_component_alone_for_any_number_of_ranks) {
  for (const std::string call : {"task_arithmetic", "ties", "tsv_m", "dare{drop_rate=0.5}"}) {
    merge_pipeline(both(call, "one-" + call), 1);
    merge_pipeline(both(call, "three-" + call), 3);
    for (const std::string component : {"unet", "text_encoder"}) {
      MergeSpec alone = both(call, component + call);
      alone.base = at("base/" + component);
      for (MergeExpert& expert : alone.experts) {
        expert.path /= component;
      }
      merge(alone, 2);
      const std::string digest = folder_digest(at(component + call));
      EXPECT_EQ(folder_digest(at("one-" + call + "/" + component)), digest) << call;
      EXPECT_EQ(folder_digest(at("three-" + call + "/" + component)), digest) << call;
    }
  }
}

TEST_F(PipelineMerge, merges_and_keeps_what_is_asked_for) {
  MergeSpec spec = both("simple_average");
  spec.components = std::vector<std::string>{"unet", "vae"};
  spec.keep = {{"text_encoder", "b"}, {"scheduler", "a"}};
  merge_pipeline(spec);
  EXPECT_EQ(folder_digest(at("out/text_encoder")), folder_digest(at("b/text_encoder")));
  EXPECT_NE(folder_digest(at("out/vae")), folder_digest(at("base/vae")));
  EXPECT_EQ(read_text(at("out/scheduler/scheduler_config.json")),
            read_text(at("a/scheduler/scheduler_config.json")));
  EXPECT_EQ(read_text(at("out/tokenizer/merges.txt")), read_text(at("base/tokenizer/merges.txt")));
}

TEST_F(PipelineMerge, index_names_the_class_of_a_component_that_an_expert_gives) {
  nlohmann::json index = Pipelines::index();
  index["scheduler"][1] = "EulerDiscreteScheduler";
  models.add("euler", 4, index);
  MergeSpec spec = models.spec({at("euler"), at("a")}, "simple_average");
  spec.keep = {{"scheduler", "euler"}};
  merge_pipeline(spec);
  EXPECT_EQ(nlohmann::json::parse(read_text(at("out/model_index.json"))), index);
}

TEST_F(PipelineMerge, several_methods_and_a_model_per_task_make_a_pipeline_each) {
  MergeSpec spec = both("emr");
  spec.methods.push_back({"simple_average", {}});
  merge_pipeline(spec, 2);
  for (const std::string folder : {"out/emr/a", "out/emr/b", "out/simple_average"}) {
    EXPECT_TRUE(fs::exists(at(folder + "/model_index.json"))) << folder;
    EXPECT_EQ(HfFolder(at(folder + "/unet")).tensors().size(), 6) << folder;
    EXPECT_EQ(folder_digest(at(folder + "/vae")), folder_digest(at("base/vae"))) << folder;
  }
}

TEST_F(PipelineMerge, shards_are_named_as_diffusers_names_them) {
  MergeSpec spec = both("simple_average");
  spec.shard_bytes = 500;
  merge_pipeline(spec);
  EXPECT_TRUE(fs::exists(at("out/unet/diffusion_pytorch_model.safetensors.index.json")));
  EXPECT_TRUE(fs::exists(at("out/text_encoder/model.safetensors")));
  merge_pipeline(both("simple_average", "whole"));
  EXPECT_EQ(folder_digest(at("out/unet")), folder_digest(at("whole/unet")));
  MergeSpec again = models.spec({at("out"), at("a")}, "simple_average", "again");
  again.base = at("out");  // sharded as it is
  merge_pipeline(again);
  EXPECT_TRUE(fs::exists(at("again/unet/diffusion_pytorch_model.safetensors.index.json")));
}

TEST_F(PipelineMerge, both_layouts_of_lora_files_are_the_update_that_they_stand_for) {
  const fs::path diffusers = models.add_lora("diffusers.safetensors", false);
  const fs::path kohya = models.add_lora("kohya.safetensors", true);
  merge_pipeline(models.spec({diffusers}, "task_arithmetic{scale=1}", "first"));
  merge_pipeline(models.spec({kohya}, "task_arithmetic{scale=1}", "second"), 3);
  const SafetensorsFile file(kohya);
  const auto matrix = [&](const std::string& key) {
    const at::Tensor factor = file.read("lora_" + key + ".weight");
    return factor.reshape({factor.size(0), -1});
  };
  const std::map<std::string, std::pair<std::string, std::string>> modules{
      {"unet", {"conv_in.weight", "unet_conv_in"}},
      {"text_encoder", {"text_model.q_proj.weight", "te_text_model_q_proj"}}};
  for (const auto& [component, names] : modules) {
    EXPECT_EQ(folder_digest(at("first/" + component)), folder_digest(at("second/" + component)));
    const at::Tensor base = weights("base/" + component).at(names.first);
    const at::Tensor update =
        at::mm(matrix(names.second + ".lora_up"), matrix(names.second + ".lora_down")).view_as(base);
    EXPECT_TRUE(at::allclose(weights("first/" + component).at(names.first), base + 0.5 * update, 1e-5, 1e-6));
    EXPECT_TRUE(at::equal(weights("first/unet").at("mid_block.attentions.0.attn1.to_q.weight"),
                          weights("base/unet").at("mid_block.attentions.0.attn1.to_q.weight")));
  }
}

TEST_F(PipelineMerge, lora_files_and_pipelines_are_merged_together) {
  const fs::path lora = models.add_lora("ink.safetensors", true, false);
  for (const std::string call : {"ties", "tsv_m"}) {
    merge_pipeline(models.spec({at("a"), lora}, call, "one-" + call), 1);
    merge_pipeline(models.spec({at("a"), lora}, call, "two-" + call), 2);
    EXPECT_EQ(folder_digest(at("one-" + call + "/unet")), folder_digest(at("two-" + call + "/unet")));
  }
}

TEST_F(PipelineMerge, a_lora_file_merges_into_one_component_alone) {
  const fs::path lora = models.add_lora("ink.safetensors", true, false);
  MergeSpec spec = models.spec({lora}, "task_arithmetic{scale=1}", "alone");
  spec.base = at("base/unet");
  merge(spec, 1);
  merge_pipeline(models.spec({lora}, "task_arithmetic{scale=1}"));
  EXPECT_EQ(folder_digest(at("alone")), folder_digest(at("out/unet")));
}

TEST_F(PipelineMerge, an_interrupted_merge_is_continued_and_another_one_refused) {
  const MergeSpec spec = both("simple_average");
  const PipelinePlan plan = plan_pipeline(spec);
  fs::create_directories(at("out.partial/components"));
  on_ranks(1, [&](Collectives& group) { run_merge(plan.merged.at(0).plan, group, {}, [](double) {}); });
  EXPECT_THAT(message_of<ConfigError>([&] { plan_pipeline(both("task_arithmetic")); }),
              HasSubstr("unfinished merge of other inputs"));
  const PipelinePlan next = plan_pipeline(spec);
  EXPECT_TRUE(next.merged.at(0).is_made);
  EXPECT_FALSE(next.merged.at(1).is_made);
  EXPECT_EQ(merge_pipeline(spec, 2).continued_files, 1);
  merge_pipeline(both("simple_average", "whole"));
  for (const std::string component : {"unet", "text_encoder"}) {
    EXPECT_EQ(folder_digest(at("out/" + component)), folder_digest(at("whole/" + component)));
  }
}

TEST_F(PipelineMerge, nothing_is_left_where_a_model_is_not_finite) {
  Weights broken = weights("a/unet");
  broken.at("conv_in.bias")[0] = INFINITY;
  fs::remove_all(at("a/unet"));
  Pipelines::save(at("a/unet"), broken, true);
  EXPECT_THROW(merge_pipeline(both("simple_average")), AgreedError);
  EXPECT_FALSE(fs::exists(at("out")));
  EXPECT_FALSE(fs::exists(at("out.partial")));
}

TEST_F(PipelineMerge, components_that_do_not_fit_are_refused) {
  nlohmann::json other = Pipelines::index();
  other["unet"][1] = "UNet3DConditionModel";
  models.add("video", 5, other);
  EXPECT_THAT(refused(models.spec({at("a"), at("video")}, "simple_average")),
              AllOf(HasSubstr("one class in all pipelines"), HasSubstr("UNet3DConditionModel"),
                    HasSubstr("--keep unet")));
  other = Pipelines::index();
  other["text_encoder"] = {nullptr, nullptr};
  models.add("mute", 6, other);
  EXPECT_THAT(refused(models.spec({at("a"), at("mute")}, "simple_average")),
              AllOf(HasSubstr("has no 'text_encoder' with weights"), HasSubstr("--keep text_encoder")));
  MergeSpec kept = models.spec({at("a"), at("mute")}, "simple_average");
  kept.keep = {{"text_encoder"}};
  EXPECT_EQ(plan_pipeline(kept).merged.size(), 1);
  Weights wide = weights("b/unet");
  wide["conv_in.weight"] = at::full({6, 9, 3, 3}, 1.0, at::kFloat);  // for inpainting
  fs::remove_all(at("b/unet"));
  Pipelines::save(at("b/unet"), wide, true);
  EXPECT_THAT(refused(both("simple_average")),
              AllOf(HasSubstr("'conv_in.weight' must have one shape"), HasSubstr("[6, 9, 3, 3]")));
}

TEST_F(PipelineMerge, choices_that_name_nothing_are_refused) {
  const auto with = [&](std::vector<std::string> components, std::vector<KeptComponent> keep) {
    MergeSpec spec = both("simple_average");
    if (!components.empty()) {
      spec.components = std::move(components);
    }
    spec.keep = std::move(keep);
    return refused(spec);
  };
  EXPECT_THAT(with({"unett"}, {}), AllOf(HasSubstr("no 'unett'"), HasSubstr("did you mean 'unet'")));
  EXPECT_THAT(with({"tokenizer"}, {}), HasSubstr("'tokenizer' has no weights"));
  EXPECT_THAT(with({"unet"}, {{"unet"}}), HasSubstr("named once"));
  EXPECT_THAT(with({"unet", "unet"}, {}), HasSubstr("named once"));
  EXPECT_THAT(with({}, {{"vea"}}), HasSubstr("did you mean 'vae'"));
  EXPECT_THAT(with({}, {{"vae", "c"}}), HasSubstr("there is no 'c'"));
  EXPECT_THAT(with({}, {{"vae", "a"}, {"vae"}}), HasSubstr("'vae' twice"));
  EXPECT_THAT(with({}, {{"unet"}, {"text_encoder"}}), HasSubstr("all are kept"));
}

TEST_F(PipelineMerge, experts_that_are_no_pipelines_are_refused) {
  EXPECT_THAT(refused(models.spec({at("a/unet")}, "simple_average")),
              HasSubstr("neither; to merge one component alone"));
  EXPECT_THAT(refused(models.spec({at("a"), at("a")}, "simple_average")),
              HasSubstr("every expert must be given once"));
  fs::remove_all(at("a/scheduler"));
  EXPECT_THAT(refused(both("simple_average")), HasSubstr("names the component 'scheduler'"));
  write_text(at("b/model_index.json"), "[1]");
  EXPECT_THAT(refused(models.spec({at("b")}, "simple_average")), HasSubstr("_class_name"));
  MergeSpec local = models.spec({at("b")}, "simple_average");
  local.inputs_are_local = true;
  EXPECT_THAT(refused(local), HasSubstr("--inputs-are is local"));
  MergeSpec tokenizer = both("simple_average");
  tokenizer.tokenizer_from = "a";
  EXPECT_THAT(refused(tokenizer), HasSubstr("--keep tokenizer=a"));
  MergeSpec single = both("simple_average");
  single.base = at("base/unet");
  EXPECT_THAT(message_of<ConfigError>([&] { plan_merge(single); }), HasSubstr("is a pipeline of diffusers"));
}

TEST_F(PipelineMerge, weights_that_are_not_read_are_refused) {
  fs::rename(at("base/vae/diffusion_pytorch_model.safetensors"),
             at("base/vae/diffusion_pytorch_model.fp16.safetensors"));
  EXPECT_THAT(refused(both("simple_average")),
              AllOf(HasSubstr("variant"), HasSubstr("rename it to diffusion_pytorch_model.safetensors")));
  fs::rename(at("base/vae/diffusion_pytorch_model.fp16.safetensors"),
             at("base/vae/diffusion_pytorch_model.bin"));
  EXPECT_THAT(refused(both("simple_average")), HasSubstr("pickle"));
}

TEST_F(PipelineMerge, variants_beside_the_weights_are_left_out) {
  fs::copy(at("base/unet/diffusion_pytorch_model.safetensors"),
           at("base/unet/diffusion_pytorch_model.fp16.safetensors"));
  const PipelinePlan plan = plan_pipeline(both("simple_average"));
  EXPECT_TRUE(has_note(plan, "the result lacks diffusion_pytorch_model.fp16.safetensors"));
}

TEST_F(PipelineMerge, lora_files_that_change_nothing_merged_are_refused) {
  MergeSpec spec = models.spec({models.add_lora("ink.safetensors", true, false)}, "task_arithmetic");
  spec.components = std::vector<std::string>{"text_encoder"};
  EXPECT_THAT(refused(spec), HasSubstr("changes unet, which is kept"));
  spec = models.spec({models.add_lora("both.safetensors", true)}, "task_arithmetic");
  spec.components = std::vector<std::string>{"text_encoder"};
  EXPECT_TRUE(has_note(plan_pipeline(spec), "changes unet, which is kept: that part of it has no effect"));
  spec.keep = {{"vae", "both"}};
  EXPECT_THAT(refused(spec), HasSubstr("'both' is a LoRA file"));
}

TEST_F(PipelineMerge, what_networks_of_one_shape_predict_is_compared) {
  write_text(at("base/scheduler/scheduler_config.json"), R"({"prediction_type": "epsilon"})");
  write_text(at("a/scheduler/scheduler_config.json"), R"({"prediction_type": "v_prediction"})");
  EXPECT_TRUE(has_note(plan_pipeline(both("simple_average")), "predicts \"v_prediction\""));
}

}  // namespace
}  // namespace fusegrid
