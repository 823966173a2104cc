#include "checkpoint/lora_folder.h"

#include <nlohmann/json.hpp>

#include "checkpoint/save_folder.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// "a.q.weight" -> "base_model.model.a.q"
std::string module_in_file(const std::string& tensor) {
  const std::string ending = ".weight";
  FUSEGRID_ASSERT(tensor.ends_with(ending), "an adapter of " + tensor);
  return "base_model.model." + tensor.substr(0, tensor.size() - ending.size());
}

// PEFT writes whole numbers as such.
nlohmann::json as_number(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? nlohmann::json(whole) : nlohmann::json(value);
}

nlohmann::json adapter_config(const LoraAdapter& adapter, const std::string& base) {
  const LowRankFactors& first = adapter.factors.begin()->second;
  const int64_t rank = first.a.size(0);
  return {{"alpha_pattern", nlohmann::json::object()},
          {"auto_mapping", nullptr},
          {"base_model_name_or_path", base},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"init_lora_weights", true},
          {"layers_pattern", nullptr},
          {"layers_to_transform", nullptr},
          {"lora_alpha", as_number(first.scale * static_cast<double>(rank))},
          {"lora_dropout", 0.0},
          {"modules_to_save", nullptr},
          {"peft_type", "LORA"},
          {"r", rank},
          {"rank_pattern", nlohmann::json::object()},
          {"revision", nullptr},
          {"target_modules", adapter.targets},
          {"task_type", adapter.task_type},
          {"use_dora", false},
          {"use_rslora", false}};
}

}  // namespace

void save_lora_folder(const std::filesystem::path& path, const LoraAdapter& adapter, const std::string& base,
                      const std::map<std::string, std::string>& extra_files) {
  FUSEGRID_ASSERT(!adapter.factors.empty(), "an adapter of nothing");
  Weights tensors;
  for (const auto& [name, factors] : adapter.factors) {
    tensors.emplace(module_in_file(name) + ".lora_A.weight", factors.a);
    tensors.emplace(module_in_file(name) + ".lora_B.weight", factors.b);
  }
  auto files = extra_files;
  files[kAdapterConfig] = adapter_config(adapter, base).dump(2) + "\n";
  save_folder(path, files, {{kAdapterWeights, tensors}});
}

}  // namespace fusegrid
