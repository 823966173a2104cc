#include "checkpoint/lora_folder.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "checkpoint/lora_keys.h"
#include "checkpoint/save_folder.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// "a.q.weight" -> "a.q"
std::string module_of(const std::string& tensor) {
  const std::string ending = ".weight";
  FUSEGRID_ASSERT(tensor.ends_with(ending), "an adapter of " + tensor);
  return tensor.substr(0, tensor.size() - ending.size());
}

// alpha = scale * rank without the rounding of alpha / rank.
double alpha_of(const LowRankFactors& factors) {
  const double alpha = factors.scale * static_cast<double>(factors.a.size(0));
  const double whole = std::round(alpha);
  return std::abs(whole - alpha) < 1e-9 * std::abs(alpha) ? whole : alpha;
}

// PEFT writes whole numbers as such.
nlohmann::json as_number(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? nlohmann::json(whole) : nlohmann::json(value);
}

// A number of every module: what most of them have (of equally frequent ones the largest), and the others.
struct Pattern {
  double usual = 0;
  nlohmann::json others = nlohmann::json::object();
};

Pattern pattern_of(const std::map<std::string, double>& numbers) {
  std::map<double, size_t> counts;
  for (const auto& [module, number] : numbers) {
    ++counts[number];
  }
  Pattern pattern;
  pattern.usual = std::max_element(counts.begin(), counts.end(), [](const auto& x, const auto& y) {
                    return std::pair(x.second, x.first) < std::pair(y.second, y.first);
                  })->first;
  for (const auto& [module, number] : numbers) {
    // a pattern is searched at the end of names: "layers.1.q" would also mean "text.layers.1.q"
    const bool is_end = std::any_of(numbers.begin(), numbers.end(), [&, name = module](const auto& other) {
      return other.first.ends_with("." + name);
    });
    if (number != pattern.usual || is_end) {
      pattern.others[(is_end ? "^" : "") + module] = as_number(number);
    }
  }
  return pattern;
}

// Biases of adapted modules are trained with them, which PEFT calls lora_only.
bool is_bias_of_adapted(const LoraAdapter& adapter, const std::string& tensor) {
  const std::string ending = ".bias";
  return tensor.ends_with(ending) &&
         adapter.factors.contains(tensor.substr(0, tensor.size() - ending.size()) + ".weight");
}

nlohmann::json adapter_config(const LoraAdapter& adapter, const std::string& base) {
  std::map<std::string, double> ranks;
  std::map<std::string, double> alphas;
  for (const auto& [name, factors] : adapter.factors) {
    ranks.emplace(module_of(name), static_cast<double>(factors.a.size(0)));
    alphas.emplace(module_of(name), alpha_of(factors));
  }
  const Pattern rank = pattern_of(ranks);
  const Pattern alpha = pattern_of(alphas);
  const bool biases = std::any_of(adapter.saved.begin(), adapter.saved.end(), [&](const auto& tensor) {
    return is_bias_of_adapted(adapter, tensor.first);
  });
  const nlohmann::json none;
  return {
      {"alpha_pattern", alpha.others},
      {"auto_mapping", nullptr},
      {"base_model_name_or_path", base},
      {"bias", biases ? "lora_only" : "none"},
      {"fan_in_fan_out", adapter.fan_in_fan_out},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"layers_pattern", nullptr},
      {"layers_to_transform", nullptr},
      {"lora_alpha", as_number(alpha.usual)},
      {"lora_dropout", 0.0},
      {"modules_to_save", adapter.modules_to_save.empty() ? none : nlohmann::json(adapter.modules_to_save)},
      {"peft_type", "LORA"},
      {"r", static_cast<int64_t>(rank.usual)},
      {"rank_pattern", rank.others},
      {"revision", nullptr},
      {"target_modules", adapter.targets},
      {"task_type", adapter.task_type.empty() ? none : nlohmann::json(adapter.task_type)},
      {"use_dora", false},
      {"use_rslora", false}};
}

}  // namespace

void save_lora_folder(const std::filesystem::path& path, const LoraAdapter& adapter, const std::string& base,
                      const std::map<std::string, std::string>& extra_files) {
  FUSEGRID_ASSERT(!adapter.factors.empty(), "an adapter of nothing");
  Weights tensors;
  for (const auto& [name, factors] : adapter.factors) {
    const std::string module = kAdapterRoot + module_of(name);
    const bool embedding = adapter.embeddings.contains(name);
    tensors.emplace(module + (embedding ? ".lora_embedding_A" : ".lora_A.weight"), factors.a);
    tensors.emplace(module + (embedding ? ".lora_embedding_B" : ".lora_B.weight"), factors.b);
  }
  for (const auto& [name, tensor] : adapter.saved) {
    std::string key = kAdapterRoot + name;
    if (is_bias_of_adapted(adapter, name)) {
      key.insert(key.rfind(".bias"), ".base_layer");
    }
    tensors.emplace(key, tensor);
  }
  auto files = extra_files;
  files[kAdapterConfig] = adapter_config(adapter, base).dump(2) + "\n";
  save_folder(path, files, {{kAdapterWeights, tensors}});
}

}  // namespace fusegrid
