#include "checkpoint/lora_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <regex>
#include <set>

#include "checkpoint/adapter_files.h"
#include "checkpoint/json_scanner.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr double kMaxRank = 1 << 20;

// Keys that say how the adapter was trained, or are read from the tensors themselves.
const std::set<std::string>& keys_without_effect() {
  static const std::set<std::string> keys{"auto_mapping",
                                          "base_model_name_or_path",
                                          "bias",
                                          "corda_config",
                                          "eva_config",
                                          "exclude_modules",
                                          "inference_mode",
                                          "layers_pattern",
                                          "layers_to_transform",
                                          "loftq_config",
                                          "lora_dropout",
                                          "lora_ga_config",
                                          "megatron_core",
                                          "modules_to_save",
                                          "peft_version",
                                          "qalora_group_size",
                                          "revision",
                                          "runtime_config",
                                          "target_modules",
                                          "task_type"};
  return keys;
}

const std::set<std::string>& keys_read() {
  static const std::set<std::string> keys{"peft_type",          "r",
                                          "lora_alpha",         "use_rslora",
                                          "fan_in_fan_out",     "rank_pattern",
                                          "alpha_pattern",      "init_lora_weights",
                                          "ensure_weight_tying"};
  return keys;
}

// Whether a key that is not known can be a variant of LoRA that computes something else.
bool may_change_arithmetic(const std::string& key) {
  static const std::set<std::string> kOfPeft{"alora_invocation_tokens",
                                             "arrow_config",
                                             "layer_replication",
                                             "lora_bias",
                                             "megatron_config",
                                             "target_parameters",
                                             "trainable_token_indices",
                                             "use_dora",
                                             "use_qalora"};
  // settings of models, which some trainers write here
  static const std::set<std::string> kOfModels{
      "use_bfloat16",          "use_cache",   "use_flash_attn",  "use_flash_attention", "use_mrope",
      "use_parallel_residual", "use_qk_norm", "use_return_dict", "use_sliding_window"};
  static const std::regex kTraining("(^|_)(lr|learning|dropout|dtype|decay|optimizer|optim)(_|$)");
  static const std::regex kVariant(
      "^use_|lora|dora|alpha|rank|replicat|magnitude|rotat|_pattern$|(^|_)(scale|scaling)$");
  if (kOfPeft.contains(key)) {
    return true;
  }
  return !kOfModels.contains(key) && !key.ends_with("rope_scaling") && !std::regex_search(key, kTraining) &&
         std::regex_search(key, kVariant);
}

std::string text_of(const nlohmann::json& value) {
  return printable(value.is_string() ? value.get<std::string>()
                                     : value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

[[noreturn]] void reject(const std::string& file, const std::string& message) {
  throw ConfigError("'" + file + "': " + message);
}

void check_type(const nlohmann::json& json, const std::string& file) {
  if (!json.is_object() || !json.contains("peft_type") || json["peft_type"] != "LORA") {
    reject(file,
           "peft_type must be LORA or IA3, but it is " +
               (json.is_object() && json.contains("peft_type") ? text_of(json["peft_type"]) : "not there") +
               "; merge other adapters into their base with PEFT's merge_and_unload and give the result");
  }
}

void check_features(const nlohmann::json& json, const std::string& file) {
  for (const auto& [key, value] : json.items()) {
    if (!keys_without_effect().contains(key) && !keys_read().contains(key) && !is_switched_off(value) &&
        may_change_arithmetic(key)) {
      reject(file, "only plain LoRA is read, W + scale * B A, but " + printable(key) + " is " +
                       text_of(value) +
                       "; merge this adapter into its base with PEFT's merge_and_unload and give the result");
    }
  }
  const auto start = json.value("init_lora_weights", nlohmann::json(true));
  static const std::set<std::string> keep_the_base{"gaussian", "eva", "orthogonal"};
  if (!start.is_null() && !start.is_boolean() &&
      !(start.is_string() && keep_the_base.contains(start.get<std::string>()))) {
    reject(file,
           "init_lora_weights must be a start that keeps the base's weights (true, false, gaussian, eva, "
           "orthogonal), but it is " +
               text_of(start) + "; save the adapter with path_initial_model_for_weight_conversion");
  }
}

double number(const nlohmann::json& value, const std::string& file, const std::string& what, bool whole) {
  const double low = whole ? 1 : -std::numeric_limits<double>::max();
  const double high = whole ? kMaxRank : std::numeric_limits<double>::max();
  const double got = value.is_number() ? value.get<double>() : std::nan("");
  if (!(got >= low && got <= high) || (whole && !value.is_number_integer())) {
    reject(file, what + " must be a " + (whole ? "whole number of at least 1" : "number") + ", but it is " +
                     text_of(value));
  }
  return got;
}

double required_number(const nlohmann::json& json, const std::string& file, const std::string& key,
                       bool whole) {
  if (!json.contains(key)) {
    reject(file, "a LoRA adapter must state " + key + ", but there is none");
  }
  return number(json[key], file, key, whole);
}

bool flag(const nlohmann::json& json, const std::string& file, const std::string& key) {
  const auto value = json.value(key, nlohmann::json(false));
  if (!value.is_boolean() && !value.is_null()) {
    reject(file, key + " must be true or false, but it is " + text_of(value));
  }
  return value == true;
}

// A name without any sign of a regular expression; PEFT lets its dots stand for any character, but no two modules
// of a model differ by that.
bool is_name(const std::string& pattern) {
  return std::all_of(pattern.begin(), pattern.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
  });
}

bool matches(const std::string& pattern, const std::string& module) {
  if (is_name(pattern)) {
    return module == pattern || module.ends_with("." + pattern);
  }
  return std::regex_match(module, std::regex("(.*\\.)?(" + pattern + ")", kPatternSyntax));
}

}  // namespace

LoraConfig::LoraConfig(const nlohmann::json& json, const std::string& file) : file_(file) {
  check_type(json, file);
  check_features(json, file);
  rank_ = required_number(json, file, "r", true);
  alpha_ = required_number(json, file, "lora_alpha", false);
  use_rslora_ = flag(json, file, "use_rslora");
  fan_in_fan_out_ = flag(json, file, "fan_in_fan_out");
  ensures_tying_ = flag(json, file, "ensure_weight_tying");
  ranks_ = patterns(json, "rank_pattern", true);
  alphas_ = patterns(json, "alpha_pattern", false);
}

LoraConfig::Patterns LoraConfig::patterns(const nlohmann::json& json, const std::string& key,
                                          bool whole) const {
  const auto value = json.value(key, nlohmann::json());
  if (!value.is_object() && !value.is_null()) {
    reject(file_, key + " must be an object of patterns and numbers, but it is " + text_of(value));
  }
  Patterns found;
  for (const auto& [pattern, entry] : value.items()) {
    try {
      matches(pattern, "");
    } catch (const std::regex_error&) {
      reject(file_, key + " must have module names or regular expressions as keys, but " +
                        printable(pattern) + " cannot be read as one; write the names of the modules");
    }
    found.emplace(pattern, number(entry, file_, key + " of " + printable(pattern), whole));
  }
  return found;
}

double LoraConfig::chosen(const Patterns& patterns, double otherwise, const std::string& key,
                          const std::string& module) const {
  std::optional<std::pair<std::string, double>> found;
  for (const auto& [pattern, value] : patterns) {
    if (!matches(pattern, module)) {
      continue;
    }
    if (found && found->second != value) {
      reject(file_, key + " must have one value for each module, but " + printable(found->first) + " and " +
                        printable(pattern) + " both match " + printable(module) +
                        "; make one of them longer");
    }
    found = {pattern, value};
  }
  return found ? found->second : otherwise;
}

int64_t LoraConfig::rank(const std::string& module) const {
  return static_cast<int64_t>(chosen(ranks_, rank_, "rank_pattern", module));
}

double LoraConfig::scale(const std::string& module) const {
  const auto r = static_cast<double>(rank(module));
  return chosen(alphas_, alpha_, "alpha_pattern", module) / (use_rslora_ ? std::sqrt(r) : r);
}

}  // namespace fusegrid
