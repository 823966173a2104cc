#pragma once

#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace fusegrid {

// What adapter_config.json of a PEFT folder says about an (IA)^3 adapter.
class Ia3Config {
 public:
  // Throws ConfigError, which names `file`, where peft_type is not IA3, feedforward_modules is neither a list of names
  // nor a regular expression, or a key that is not known may change the arithmetic.
  Ia3Config(const nlohmann::json& json, const std::string& file);

  // Whether the vector of the module multiplies its inputs; else it multiplies its outputs. PEFT's rule: the name of
  // the module ends with one of feedforward_modules, or matches the expression as a whole.
  bool is_feedforward(const std::string& module) const;
  bool fan_in_fan_out() const { return fan_in_fan_out_; }  // adapted weights are stored as [in, out]

 private:
  std::set<std::string> ends_;
  std::string expression_;
  bool fan_in_fan_out_ = false;
};

}  // namespace fusegrid
