// Small pipelines in the layout of diffusers, and LoRA files on them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "checkpoint/hf_folder.h"
#include "checkpoint/safetensors_writer.h"
#include "core/philox.h"
#include "merge/checkpoints.h"
#include "merge/pipeline.h"
#include "support/temporary_folder.h"

namespace fusegrid {

inline Weights random_tensors(const std::map<std::string, std::vector<int64_t>>& shapes, uint64_t key,
                              double spread) {
  Weights weights;
  uint64_t stream = 0;
  for (const auto& [name, shape] : shapes) {
    const at::Tensor values = at::empty(shape, at::kFloat);
    weights[name] = normal(key, stream++, 0, values.numel()).view(shape) * spread;
  }
  return weights;
}

// A pipeline with a denoiser, a text encoder and an autoencoder, and experts around it.
class Pipelines {
 public:
  using Shapes = std::map<std::string, std::vector<int64_t>>;

  Pipelines() { add("base", 1); }

  static const std::map<std::string, Shapes>& shapes() {
    static const std::map<std::string, Shapes> all{
        {"unet",
         {{"conv_in.weight", {6, 4, 3, 3}},
          {"conv_in.bias", {6}},
          {"mid_block.attentions.0.proj_in.weight", {6, 6, 1, 1}},
          {"mid_block.attentions.0.attn1.to_q.weight", {6, 6}},
          {"mid_block.attentions.0.attn1.to_out.0.weight", {6, 6}},
          {"mid_block.attentions.0.attn1.to_out.0.bias", {6}}}},
        {"text_encoder", {{"text_model.q_proj.weight", {5, 5}}, {"text_model.q_proj.bias", {5}}}},
        {"vae", {{"decoder.conv_in.weight", {4, 4, 3, 3}}}}};
    return all;
  }

  static nlohmann::json index() {
    return {{"_class_name", "StableDiffusionPipeline"},
            {"_diffusers_version", "0.35.2"},
            {"requires_safety_checker", false},
            {"safety_checker", {nullptr, nullptr}},
            {"scheduler", {"diffusers", "DDIMScheduler"}},
            {"text_encoder", {"transformers", "CLIPTextModel"}},
            {"tokenizer", {"transformers", "CLIPTokenizer"}},
            {"unet", {"diffusers", "UNet2DConditionModel"}},
            {"vae", {"diffusers", "AutoencoderKL"}}};
  }

  // key 1: the base; others: models around it.
  void add(const std::string& name, uint64_t key, const nlohmann::json& index = Pipelines::index()) {
    std::filesystem::create_directory(folder / name);
    write_text(folder / name / "model_index.json", index.dump(2));
    for (const auto& [component, tensors] : shapes()) {
      Weights weights = random_tensors(tensors, 1, 0.1);
      if (key != 1) {
        for (auto& [tensor, change] : random_tensors(tensors, key, 0.01)) {
          weights.at(tensor) = weights.at(tensor) + change;
        }
      }
      const bool of_diffusers = component != "text_encoder";
      save(folder / name / component, weights, of_diffusers);
    }
    for (const auto& [component, file] : std::map<std::string, std::string>{
             {"scheduler", "scheduler_config.json"}, {"tokenizer", "merges.txt"}}) {
      std::filesystem::create_directory(folder / name / component);
      write_text(folder / name / component / file, R"({"of": ")" + name + R"("})");
    }
  }

  static void save(const std::filesystem::path& path, const Weights& weights, bool of_diffusers) {
    save_hf_folder(path, weights, {{"_class_name", path.filename().string()}});
    if (of_diffusers) {
      std::filesystem::rename(path / "model.safetensors", path / "diffusion_pytorch_model.safetensors");
    }
  }

  // Factors of the same update under the names of kohya or of diffusers, alpha = 2 and rank 4: scale 0.5.
  std::filesystem::path add_lora(const std::string& name, bool kohya, bool with_text_encoder = true) {
    const Weights drawn = random_tensors({{"conv.down", {4, 4, 3, 3}},
                                          {"conv.up", {6, 4, 1, 1}},
                                          {"proj.down", {4, 6, 1, 1}},
                                          {"proj.up", {6, 4, 1, 1}},
                                          {"out.down", {4, 6}},
                                          {"out.up", {6, 4}},
                                          {"text.down", {4, 5}},
                                          {"text.up", {5, 4}}},
                                         77, 0.3);
    const std::map<std::string, std::pair<std::string, std::string>> modules{
        {"conv", {"unet.conv_in", "lora_unet_conv_in"}},
        {"proj", {"unet.mid_block.attentions.0.proj_in", "lora_unet_mid_block_attentions_0_proj_in"}},
        {"out",
         {"unet.mid_block.attentions.0.attn1.to_out.0", "lora_unet_mid_block_attentions_0_attn1_to_out_0"}},
        {"text", {"text_encoder.text_model.q_proj", "lora_te_text_model_q_proj"}}};
    Weights weights;
    for (const auto& [module, names] : modules) {
      if (module == "text" && !with_text_encoder) {
        continue;
      }
      const std::string& stem = kohya ? names.second : names.first;
      weights[stem + (kohya ? ".lora_down.weight" : ".lora_A.weight")] = drawn.at(module + ".down");
      weights[stem + (kohya ? ".lora_up.weight" : ".lora_B.weight")] = drawn.at(module + ".up");
      weights[stem + ".alpha"] = at::full({}, 2.0, at::kFloat);
    }
    write_safetensors(folder / name, weights);
    return folder / name;
  }

  MergeSpec spec(const std::vector<std::filesystem::path>& experts, const std::string& call,
                 const std::string& out = "out") const {
    MergeSpec spec;
    spec.base = folder / "base";
    for (const auto& expert : experts) {
      spec.experts.push_back({expert.stem().string(), expert});
    }
    auto [name, parameters] = parse_call(call);
    spec.methods.push_back({name, parameters});
    spec.out = folder / out;
    return spec;
  }

  TemporaryFolder folder;
};

inline MergeReport merge_pipeline(const MergeSpec& spec, int ranks = 1) {
  MergeReport report;
  on_ranks(ranks, [&](Collectives& group) {
    const PipelinePlan plan = plan_pipeline(spec);
    const MergeReport mine = run_pipeline(plan, group, {{"argv", "a test"}}, [](double) {});
    if (group.rank() == 0) {
      report = mine;
    }
  });
  return report;
}

}  // namespace fusegrid
