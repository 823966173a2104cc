#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/operators.h"

namespace fusegrid {

// Reads fields of one object of a config.json; a ConfigError names the field, its value and what is supported.
class ConfigReader {
 public:
  // where: the path of the object, for errors: "", "vision_config."
  ConfigReader(const nlohmann::json& config, std::string where) : config_(config), where_(std::move(where)) {}

  int64_t size(const std::string& field, int64_t otherwise) const;  // a positive whole number
  int64_t size(const std::string& field) const;                     // the same, which must be given
  // Nothing where it is null; where it is not given, `otherwise`.
  std::optional<int64_t> size_or_null(const std::string& field, std::optional<int64_t> otherwise = {}) const;
  std::vector<int64_t> sizes(const std::string& field) const;  // one or more of them, which must be given
  std::vector<int64_t> sizes(const std::string& field, const std::vector<int64_t>& otherwise) const;
  int64_t count(const std::string& field, int64_t otherwise) const;  // a whole number, 0 or more
  double positive(const std::string& field, double otherwise) const;
  bool flag(const std::string& field, bool otherwise) const;
  std::string one_of(const std::string& field, const std::string& otherwise,
                     const std::vector<std::string>& known) const;
  // One of `known`, by HuggingFace's names.
  Activation activation(const std::string& field, const std::string& otherwise,
                        const std::vector<std::string>& known) const;
  // For a field that has one supported value, which it also has where it is not given.
  void require_only(const std::string& field, const nlohmann::json& supported) const;
  // ConfigError: `field` must be `rule`.
  void require(bool condition, const std::string& field, const std::string& rule) const;

 private:
  const nlohmann::json& config_;
  std::string where_;
};

}  // namespace fusegrid
