#include "checkpoint/ia3_config.h"

#include <algorithm>
#include <regex>

#include "checkpoint/adapter_files.h"
#include "checkpoint/json_scanner.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

const std::set<std::string>& ia3_keys() {
  static const std::set<std::string> keys{
      "auto_mapping",   "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "feedforward_modules",
      "inference_mode", "init_ia3_weights",        "modules_to_save", "peft_type",      "peft_version",
      "revision",       "target_modules",          "task_type"};
  return keys;
}

bool is_list_of_names(const nlohmann::json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const auto& entry) { return entry.is_string(); });
}

}  // namespace

Ia3Config::Ia3Config(const nlohmann::json& json, const std::string& file) {
  const auto reject = [&](const std::string& message) { throw ConfigError("'" + file + "': " + message); };
  FUSEGRID_ASSERT(json.is_object() && json.value("peft_type", nlohmann::json()) == "IA3", file);
  for (const auto& [key, value] : json.items()) {
    if (!ia3_keys().contains(key) && !is_switched_off(value)) {
      reject("only plain (IA)^3 is read, whose vectors multiply inputs or outputs of modules, but there is " +
             printable(key) +
             "; merge this adapter into its base with PEFT's merge_and_unload and give the result");
    }
  }
  const auto modules = json.value("feedforward_modules", nlohmann::json());
  if (is_list_of_names(modules)) {
    ends_ = modules.get<std::set<std::string>>();
  } else if (modules.is_string()) {
    expression_ = modules.get<std::string>();
    try {
      is_feedforward("");
    } catch (const std::regex_error&) {
      reject("feedforward_modules " + printable(expression_) +
             " cannot be read as a regular expression; write a list of module names");
    }
  } else {
    reject(
        "feedforward_modules must be a list of module names or a regular expression, since it says which "
        "vectors multiply inputs; write [] where none does");
  }
  const auto turned = json.value("fan_in_fan_out", nlohmann::json(false));
  if (!turned.is_boolean() && !turned.is_null()) {
    reject("fan_in_fan_out must be true or false");
  }
  fan_in_fan_out_ = turned == true;
}

bool Ia3Config::is_feedforward(const std::string& module) const {
  return std::any_of(ends_.begin(), ends_.end(),
                     [&](const std::string& end) { return module.ends_with(end); }) ||
         (!expression_.empty() && std::regex_match(module, std::regex(expression_, kPatternSyntax)));
}

}  // namespace fusegrid
