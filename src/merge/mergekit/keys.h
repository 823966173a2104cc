// The entries of a mapping in a file of mergekit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "merge/mergekit/yaml.h"

namespace fusegrid::mergekit {

// Reads values by their keys. What is not as it must be throws ConfigError with the line.
class Keys {
 public:
  // what: whose keys they are, "a slice". Throws where `mapping` is none, or has a key that is not `known`.
  Keys(const YamlValue& mapping, std::string what, const std::vector<std::string>& known);

  // What stands behind `key`; nothing where it is not there or empty.
  YamlValue at(const std::string& key) const;
  bool has(const std::string& key) const { return !at(key).is(YamlValue::Kind::kNull); }
  // The same, which must be text, or a list of at least one entry.
  YamlValue text(const std::string& key) const;
  YamlValue list(const std::string& key) const;
  YamlValue required(const std::string& key) const;  // text that is there
  int64_t whole_number(const std::string& key, int64_t fallback) const;
  bool truth_value(const std::string& key) const;  // false where it is not there
  // Throws where `key` is there: mergekit takes it, fusegrid does not.
  void refuse(const std::string& key, const std::string& why) const;

 private:
  YamlValue checked(const std::string& key, YamlValue::Kind kind, const std::string& what) const;

  const YamlValue& mapping_;
  std::string what_;
};

// Of one value, as Python's libraries read them ("yes", "off", 1). what: the key, for the message.
int64_t whole_number_of(const YamlValue& value, const std::string& what);
bool truth_value_of(const YamlValue& value, const std::string& what);

}  // namespace fusegrid::mergekit
