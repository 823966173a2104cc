// What one file of LoRA factors for a pipeline of diffusers changes, by the names of its tensors.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "checkpoint/lora_config.h"
#include "checkpoint/safetensors.h"

namespace fusegrid {

// One module's factors: names of the file's tensors, "" where it has none.
struct LoraFactorKeys {
  std::string down;   // A [r, in], of a convolution [r, in, k, k]
  std::string up;     // B [out, r], of a convolution [out, r, 1, 1]
  std::string alpha;  // one number
  // What the file calls it, for messages.
  const std::string& any() const { return !down.empty() ? down : !up.empty() ? up : alpha; }
};

// Of one component.
struct LoraFilePart {
  std::map<std::string, LoraFactorKeys> dotted;       // by module: "mid_block.attentions.0.proj_in"
  std::map<std::string, LoraFactorKeys> underscored;  // kohya: "mid_block_attentions_0_proj_in"
  std::optional<LoraConfig> config;                   // of PEFT, where the file's metadata have it
};

// Where names say no component: it is the denoiser, however the pipeline calls it.
inline constexpr const char* kDenoiser = "";
bool is_denoiser(const std::string& component);  // "unet", "transformer", "prior"

// By component: "unet", "text_encoder_2", kDenoiser. Understood are the names of diffusers (module.lora_A.weight,
// module.lora.down.weight, module.lora_linear_layer.down.weight, attn1.processor.to_q_lora.down.weight) behind
// "<component>." or nothing, those of kohya (lora_unet_..., lora_te_..., lora_te1_..., lora_te2_...), and alpha beside
// both. Throws ConfigError for what is not W + scale * up down (LoHa, LoKr, DoRA, lora_mid, biases, ...) and for a file
// without factors; DataError where it holds one thing twice or lacks one of two factors.
std::map<std::string, LoraFilePart> lora_file_parts(const SafetensorsFile& file);

}  // namespace fusegrid
