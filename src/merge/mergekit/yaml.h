// YAML files as trees that know their lines, so that every mistake in them is told with its place. The one place of
// yaml-cpp.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace fusegrid::mergekit {

struct Entry;

struct YamlValue {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;              // of a scalar
  std::vector<YamlValue> items;  // of a list
  std::vector<Entry> entries;    // of a mapping, as they stand in the file, every key once
  std::shared_ptr<const std::string> file;
  int line = 0;

  bool is(Kind other) const { return kind == other; }
  // Throws ConfigError "FILE:LINE: message".
  [[noreturn]] void fail(const std::string& message) const;
  // "'text'", "a list", "a mapping" or "nothing": how messages tell what is there.
  std::string seen() const;
};

struct Entry {
  std::string key;
  YamlValue value;  // its line is that of the key where the value has none
  int line = 0;     // of the key
};

// All documents of a file. Throws ConfigError where it is no YAML, a key is given twice or is no text, or where aliases
// make it larger than a hundred thousand values; IoError where it cannot be read.
std::vector<YamlValue> read_yaml(const std::filesystem::path& file);

}  // namespace fusegrid::mergekit
