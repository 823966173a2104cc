#include "merge/mergekit/keys.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid::mergekit {

Keys::Keys(const YamlValue& mapping, std::string what, const std::vector<std::string>& known)
    : mapping_(mapping), what_(std::move(what)) {
  if (!mapping.is(YamlValue::Kind::kMap)) {
    mapping.fail(what_ + " must be a mapping, but it is " + mapping.seen());
  }
  for (const Entry& entry : mapping.entries) {
    if (std::find(known.begin(), known.end(), entry.key) == known.end()) {
      YamlValue at = entry.value;
      at.line = entry.line;
      at.fail(what_ + " has no key '" + entry.key + "'" + alternatives(entry.key, known));
    }
  }
}

YamlValue Keys::at(const std::string& key) const {
  const auto it = std::find_if(mapping_.entries.begin(), mapping_.entries.end(),
                               [&](const Entry& entry) { return entry.key == key; });
  return it == mapping_.entries.end() ? YamlValue() : it->value;
}

YamlValue Keys::checked(const std::string& key, YamlValue::Kind kind, const std::string& what) const {
  YamlValue value = at(key);
  if (!value.is(kind) && !value.is(YamlValue::Kind::kNull)) {
    value.fail("'" + key + "' must be " + what + ", but it is " + value.seen());
  }
  return value;
}

YamlValue Keys::text(const std::string& key) const {
  return checked(key, YamlValue::Kind::kScalar, "text");
}

YamlValue Keys::list(const std::string& key) const {
  YamlValue value = checked(key, YamlValue::Kind::kList, "a list");
  if (has(key) && value.items.empty()) {
    value.fail("'" + key + "' must have at least one entry; add one, or leave '" + key + "' out");
  }
  return value;
}

YamlValue Keys::required(const std::string& key) const {
  if (!has(key)) {
    mapping_.fail(what_ + " needs '" + key + "'; add it");
  }
  return text(key);
}

int64_t Keys::whole_number(const std::string& key, int64_t fallback) const {
  return has(key) ? whole_number_of(text(key), key) : fallback;
}

bool Keys::truth_value(const std::string& key) const {
  return has(key) && truth_value_of(text(key), key);
}

void Keys::refuse(const std::string& key, const std::string& why) const {
  if (has(key)) {
    at(key).fail("'" + key + "' is not offered: " + why);
  }
}

int64_t whole_number_of(const YamlValue& value, const std::string& what) {
  try {
    return parse_int(value.is(YamlValue::Kind::kScalar) ? value.text : "", "'" + what + "'");
  } catch (const ConfigError&) {
    value.fail("'" + what + "' must be a whole number, but it is " + value.seen());
  }
}

bool truth_value_of(const YamlValue& value, const std::string& what) {
  static const std::set<std::string> words_of_true{"true", "yes", "on", "1", "y", "t", "1.0"};
  static const std::set<std::string> words_of_false{"false", "no", "off", "0", "n", "f", "0.0"};
  std::string text = value.text;
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (!words_of_true.contains(text) && !words_of_false.contains(text)) {
    value.fail("'" + what + "' must be true or false, but it is " + value.seen());
  }
  return words_of_true.contains(text);
}

}  // namespace fusegrid::mergekit
