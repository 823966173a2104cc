#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

namespace fusegrid {

// What adapter_config.json of a PEFT folder says about the arithmetic of its LoRA update.
class LoraConfig {
 public:
  // Throws ConfigError, which names `file`, where peft_type is not LORA, a needed key is missing or of the wrong
  // kind, or something is asked for that is not W + scale * B A: DoRA and other variants, starts that change the
  // base (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA), adapted parameters or tokens, replicated layers. A key that is not
  // known here and not switched off (null, false, empty) is refused where its name speaks of the arithmetic; others
  // (optimiser settings, the base's own configuration, a trainer's marks) are passed over.
  LoraConfig(const nlohmann::json& json, const std::string& file);

  // Of the module `module`, named as in the model that the adapter was trained on: the one pattern that matches
  // all of the name, or all of it behind a dot; else r and lora_alpha. Throw ConfigError where patterns that
  // disagree match: PEFT takes the first in the file, and JSON objects have no order.
  int64_t rank(const std::string& module) const;
  // lora_alpha / r, with use_rslora lora_alpha / sqrt(r)
  double scale(const std::string& module) const;
  bool fan_in_fan_out() const { return fan_in_fan_out_; }  // adapted weights are stored as [in, out]
  bool ensures_tying() const { return ensures_tying_; }    // what is tied in the base stays so

 private:
  using Patterns = std::map<std::string, double>;

  Patterns patterns(const nlohmann::json& json, const std::string& key, bool whole) const;
  double chosen(const Patterns& patterns, double otherwise, const std::string& key,
                const std::string& module) const;

  std::string file_;
  double rank_ = 0;
  double alpha_ = 0;
  bool use_rslora_ = false;
  bool fan_in_fan_out_ = false;
  bool ensures_tying_ = false;
  Patterns ranks_;
  Patterns alphas_;
};

}  // namespace fusegrid
