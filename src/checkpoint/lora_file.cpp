#include "checkpoint/lora_file.h"

#include <array>
#include <regex>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/json_scanner.h"
#include "checkpoint/lossless_json.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

enum class FactorKind { kDown, kUp, kAlpha };

struct FactorEnding {
  std::string text;
  FactorKind kind;
  bool of_processor = false;  // "attn1.processor.to_q_lora.down.weight": the module is "attn1.to_q"
};

// The longer ones of the same end first.
const std::vector<FactorEnding>& factor_endings() {
  using Kind = FactorKind;
  static const std::vector<FactorEnding> endings{{".lora_A.weight", Kind::kDown},
                                                 {".lora_B.weight", Kind::kUp},
                                                 {".lora_A.default.weight", Kind::kDown},
                                                 {".lora_B.default.weight", Kind::kUp},
                                                 {".lora_down.weight", Kind::kDown},
                                                 {".lora_up.weight", Kind::kUp},
                                                 {".lora.down.weight", Kind::kDown},
                                                 {".lora.up.weight", Kind::kUp},
                                                 {".lora_linear_layer.down.weight", Kind::kDown},
                                                 {".lora_linear_layer.up.weight", Kind::kUp},
                                                 {"_lora.down.weight", Kind::kDown, true},
                                                 {"_lora.up.weight", Kind::kUp, true},
                                                 {"_lora.alpha", Kind::kAlpha, true},
                                                 {".lora_linear_layer.alpha", Kind::kAlpha},
                                                 {".lora.alpha", Kind::kAlpha},
                                                 {".alpha", Kind::kAlpha}};
  return endings;
}

struct FactorName {
  FactorKind kind = FactorKind::kDown;
  std::string component;
  std::string module;
  bool underscored = false;
};

// "attn1.processor.to_out" -> "attn1.to_out.0"
std::string without_processor(const std::string& module) {
  static const std::string kProcessor = ".processor.";
  std::string plain = module;
  if (const size_t at = plain.rfind(kProcessor); at != std::string::npos) {
    plain.replace(at, kProcessor.size(), ".");
  }
  return plain.ends_with(".to_out") ? plain + ".0" : plain;
}

void place(FactorName& name, const std::string& module) {
  static const std::array<std::pair<std::string, std::string>, 6> kohya{{{"lora_unet_", kDenoiser},
                                                                         {"lora_transformer_", kDenoiser},
                                                                         {"lora_te_", "text_encoder"},
                                                                         {"lora_te1_", "text_encoder"},
                                                                         {"lora_te2_", "text_encoder_2"},
                                                                         {"lora_te3_", "text_encoder_3"}}};
  for (const auto& [prefix, component] : kohya) {
    if (module.starts_with(prefix)) {
      name.component = component;
      name.module = module.substr(prefix.size());
      name.underscored = true;
      return;
    }
  }
  static const std::regex components("(unet|transformer|prior|text_encoder|image_encoder|vae)(_[0-9]+)?");
  const size_t dot = module.find('.');
  const bool named = dot != std::string::npos && std::regex_match(module.substr(0, dot), components);
  name.component = named ? module.substr(0, dot) : kDenoiser;
  name.module = named ? module.substr(dot + 1) : module;
}

std::optional<FactorName> factor_name(const std::string& key) {
  for (const FactorEnding& ending : factor_endings()) {
    if (key.size() > ending.text.size() && key.ends_with(ending.text)) {
      FactorName name{.kind = ending.kind, .component = {}, .module = {}};
      const std::string module = key.substr(0, key.size() - ending.text.size());
      place(name, ending.of_processor ? without_processor(module) : module);
      return name;
    }
  }
  return std::nullopt;
}

[[noreturn]] void fail_with_other(const SafetensorsFile& file, const std::string& key, bool has_factors) {
  static const std::array<std::pair<std::string, std::string>, 7> kinds{{{"hada_", "LoHa"},
                                                                         {"lokr_", "LoKr"},
                                                                         {"lora_mid", "LoCon with a core"},
                                                                         {"dora_scale", "DoRA"},
                                                                         {"lora_magnitude_vector", "DoRA"},
                                                                         {".diff", "a full difference"},
                                                                         {".bias", "a bias"}}};
  std::string kind;
  for (const auto& [part, name] : kinds) {
    if (kind.empty() && key.find(part) != std::string::npos) {
      kind = name;
    }
  }
  if (kind.empty() && !has_factors) {
    throw ConfigError("a file as an expert must hold LoRA factors, but '" + file.path().string() +
                      "' holds " + printable(key) +
                      " and the like; give a checkpoint as the folder that it lies in");
  }
  throw ConfigError("of a LoRA file only factors are read, W + alpha / rank * (up down), but '" +
                    file.path().string() + "' holds " + printable(key) +
                    (kind.empty() ? "" : ", which is " + kind) +
                    "; fuse it into its pipeline (fuse_lora, save_pretrained) and give that as the expert");
}

// PEFT's configuration of each component, which newer versions of diffusers write into the file's metadata with names
// such as "unet.lora_alpha".
void read_configs(const SafetensorsFile& file, std::map<std::string, LoraFilePart>& parts) {
  constexpr auto kMetadataKey = "lora_adapter_metadata";
  const auto found = file.metadata().find(kMetadataKey);
  if (found == file.metadata().end()) {
    return;
  }
  const std::string where = file.path().string() + "', '" + kMetadataKey;
  const nlohmann::json all = parse_lossless(found->second, where);
  for (auto& [component, part] : parts) {
    nlohmann::json own = nlohmann::json::object();
    for (const auto& [key, value] : all.items()) {
      const size_t dot = key.find('.');
      const std::string named = dot == std::string::npos ? kDenoiser : key.substr(0, dot);
      if (named == component || (component == kDenoiser && is_denoiser(named))) {
        own[dot == std::string::npos ? key : key.substr(dot + 1)] = value;
      }
    }
    if (!own.empty()) {
      own["peft_type"] = "LORA";
      part.config.emplace(own, where);
    }
  }
}

void check_whole(const SafetensorsFile& file, const std::map<std::string, LoraFactorKeys>& modules) {
  for (const auto& [module, keys] : modules) {
    if (keys.down.empty() || keys.up.empty()) {
      throw DataError("'" + file.path().string() + "': a module must have both factors, but " +
                      printable(module) + " has " + printable(keys.any()) + " and lacks the one that goes " +
                      (keys.down.empty() ? "down" : "up") + "; was the file cut?");
    }
  }
}

}  // namespace

bool is_denoiser(const std::string& component) {
  return component == "unet" || component == "transformer" || component == "prior";
}

std::map<std::string, LoraFilePart> lora_file_parts(const SafetensorsFile& file) {
  std::map<std::string, LoraFilePart> parts;
  std::string other;
  for (const FileTensor& tensor : file.tensors()) {
    const auto name = factor_name(tensor.name);
    if (!name) {
      other = other.empty() ? tensor.name : other;
      continue;
    }
    LoraFilePart& part = parts[name->component];
    LoraFactorKeys& keys = (name->underscored ? part.underscored : part.dotted)[name->module];
    std::string& slot = name->kind == FactorKind::kDown ? keys.down
                        : name->kind == FactorKind::kUp ? keys.up
                                                        : keys.alpha;
    if (!slot.empty()) {
      throw DataError("'" + file.path().string() + "' must hold each factor once, but " + printable(slot) +
                      " and " + printable(tensor.name) + " are both of " + printable(name->module));
    }
    slot = tensor.name;
  }
  if (!other.empty()) {
    fail_with_other(file, other, !parts.empty());
  }
  if (parts.empty()) {
    throw DataError("'" + file.path().string() + "' must hold LoRA factors, but it holds no tensor");
  }
  for (const auto& [component, part] : parts) {
    check_whole(file, part.dotted);
    check_whole(file, part.underscored);
  }
  read_configs(file, parts);
  return parts;
}

}  // namespace fusegrid
