#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/params.h"
#include "models/architecture.h"

namespace fusegrid {

// How the models of an embedded zoo are made: recipe "K4", found by experiment (docs/architecture.md). One
// base per seed is pretrained on a pool of other images plus a few labelled examples of each task ("shots":
// the incidental exposure of CLIP); its class table gives the frozen heads; experts train the weight matrices
// of the blocks only.
struct Recipe {
  std::string scale;

  // architecture
  int64_t width = 64;
  int64_t blocks = 4;
  int64_t head_width = 32;
  int64_t mlp_ratio = 4;
  int64_t patch_size = 7;
  int64_t image_size = 28;

  // pretraining
  double base_lr = 2e-3;
  int64_t base_steps = 4000;
  int64_t base_batch = 64;
  double base_weight_decay = 0.05;
  int64_t shots = 4;
  double shots_share = 0.24;
  double colour_share = 0.25;
  double initial_scale = 12;

  // experts and multitask
  double expert_lr = 1e-3;
  int64_t expert_steps = 350;
  int64_t expert_batch = 64;
  int64_t max_shift = 1;
  int64_t multitask_steps = 1400;
  int64_t multitask_batch = 16;

  template <typename Visitor>
  void describe(Visitor& v) {
    v.param("width", width, Range{8, 8192}, "channels of the hidden states");
    v.param("blocks", blocks, Range{1, 64}, "transformer blocks");
    v.param("head_width", head_width, Range{4, 256}, "channels of an attention head");
    v.param("mlp_ratio", mlp_ratio, Range{1, 16}, "channels of the MLP in units of width");
    v.param("patch_size", patch_size, Range{1, 64}, "pixels of a patch's side");
    v.param("image_size", image_size, Range{4, 512}, "pixels of an image's side");
    v.param("base_lr", base_lr, Range{0, 1}, "highest learning rate of pretraining");
    v.param("base_steps", base_steps, Range{1, 1e7}, "steps of pretraining");
    v.param("base_batch", base_batch, Range{1, 65536}, "images of a pretraining step");
    v.param("base_weight_decay", base_weight_decay, Range{0, 1},
            "AdamW's, on weight matrices and the patches");
    v.param("shots", shots, Range{1, 1e5}, "training examples of each class of each task in pretraining");
    v.param("shots_share", shots_share, Range{0, 1}, "their share of a batch, equal for each task");
    v.param("colour_share", colour_share, Range{0, 1}, "share of glyph masks that get random colours");
    v.param("initial_scale", initial_scale, Range{1, 100}, "of the logits; learned, at most 100");
    v.param("expert_lr", expert_lr, Range{0, 1}, "highest learning rate of fine-tuning");
    v.param("expert_steps", expert_steps, Range{1, 1e7}, "steps of fine-tuning");
    v.param("expert_batch", expert_batch, Range{1, 65536}, "images of a fine-tuning step");
    v.param("max_shift", max_shift, Range{0, 16}, "pixels by which a batch is shifted at most, each way");
    v.param("multitask_steps", multitask_steps, Range{1, 1e7}, "steps of the multitask model");
    v.param("multitask_batch", multitask_batch, Range{1, 65536}, "images of each task in such a step");
  }

  // The config.json of its models.
  nlohmann::json architecture_config() const;
  // All numbers, for the provenance of what is made.
  nlohmann::json to_json() const;
};

// The scales that fusegrid trains: "small" (64 x 4) and "medium" (128 x 6) on a CPU in minutes, "large"
// (512 x 8) on a GPU.
std::vector<std::string> recipe_scales();
// The recipe of a scale with some of its numbers replaced: {"expert_steps": 20}. ConfigError where the scale
// or a name is unknown or a value is out of range.
Recipe make_recipe(const std::string& scale, const nlohmann::json& overrides = nlohmann::json::object());

}  // namespace fusegrid
