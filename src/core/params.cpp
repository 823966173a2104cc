#include "core/params.h"

#include <algorithm>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

std::string range_text(Range range) {
  return "[" + number_text(range.low) + ", " + number_text(range.high) + "]";
}

std::string list_text(const std::vector<double>& values) {
  std::vector<std::string> parts;
  for (const double value : values) {
    parts.push_back(number_text(value));
  }
  return join(parts, ":");
}

}  // namespace

ParamReader::ParamReader(std::string owner, ParamText text)
    : owner_(std::move(owner)), text_(std::move(text)) {}

std::string ParamReader::where(const std::string& name) const {
  return "parameter '" + name + "' of " + owner_;
}

bool ParamReader::take(const std::string& name, std::string& text) {
  declared_.push_back(name);
  const auto it = text_.find(name);
  if (it == text_.end()) {
    return false;
  }
  text = it->second;
  text_.erase(it);
  return true;
}

void ParamReader::check_range(const std::string& name, double value, Range range) const {
  if (!(value >= range.low && value <= range.high)) {
    throw ConfigError(where(name) + " must lie in " + range_text(range) + ", but it is " +
                      number_text(value));
  }
}

void ParamReader::param(const std::string& name, double& value, Range range, const std::string&) {
  if (std::string text; take(name, text)) {
    value = parse_double(text, where(name));
  }
  check_range(name, value, range);
}

void ParamReader::param(const std::string& name, int64_t& value, Range range, const std::string&) {
  if (std::string text; take(name, text)) {
    value = parse_int(text, where(name));
  }
  check_range(name, static_cast<double>(value), range);
}

void ParamReader::param(const std::string& name, bool& value, const std::string&) {
  if (std::string text; take(name, text)) {
    if (text != "true" && text != "false") {
      throw ConfigError(where(name) + " must be true or false, but it is '" + text + "'");
    }
    value = text == "true";
  }
}

void ParamReader::param(const std::string& name, std::string& value, const Choices& choices,
                        const std::string&) {
  if (std::string text; take(name, text)) {
    value = text;
  }
  if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
    throw ConfigError(where(name) + " must be one of " + join(choices, ", ") + ", but it is '" + value + "'");
  }
}

void ParamReader::param(const std::string& name, std::vector<double>& value, Range range,
                        const std::string&) {
  if (std::string text; take(name, text)) {
    value.clear();
    // an empty list is written as nothing at all: canonical text must read back
    for (const auto& part : text.empty() ? std::vector<std::string>{} : split(text, ':')) {
      value.push_back(parse_double(part, where(name)));
    }
  }
  for (const double v : value) {
    check_range(name, v, range);
  }
}

void ParamReader::expect_all_read() const {
  if (text_.empty()) {
    return;
  }
  const std::string& name = text_.begin()->first;
  throw ConfigError(owner_ + " has no parameter '" + name + "'" + alternatives(name, declared_));
}

void ParamLister::param(const std::string& name, const double& value, Range range, const std::string& doc) {
  params_.push_back({name, number_text(value), range_text(range), doc});
}
void ParamLister::param(const std::string& name, const int64_t& value, Range range, const std::string& doc) {
  params_.push_back({name, number_text(value), range_text(range), doc});
}
void ParamLister::param(const std::string& name, const bool& value, const std::string& doc) {
  params_.push_back({name, value ? "true" : "false", "true | false", doc});
}
void ParamLister::param(const std::string& name, const std::string& value, const Choices& choices,
                        const std::string& doc) {
  params_.push_back({name, value, join(choices, " | "), doc});
}
void ParamLister::param(const std::string& name, const std::vector<double>& value, Range range,
                        const std::string& doc) {
  params_.push_back({name, list_text(value), "numbers in " + range_text(range) + " joined by ':'", doc});
}

std::string ParamLister::canonical() const {
  std::vector<std::string> parts;
  for (const auto& p : params_) {
    parts.push_back(p.name + "=" + p.value);
  }
  return join(parts, ",");
}

std::pair<std::string, ParamText> parse_call(const std::string& text) {
  const auto open = text.find('{');
  if (open == std::string::npos) {
    return {trim(text), {}};
  }
  if (text.back() != '}') {
    throw ConfigError("'" + text + "' must end with '}': write name{parameter=value,...}");
  }
  ParamText params;
  const std::string inside = text.substr(open + 1, text.size() - open - 2);
  for (const auto& part : trim(inside).empty() ? std::vector<std::string>{} : split(inside, ',')) {
    const auto equals = part.find('=');
    if (equals == std::string::npos) {
      throw ConfigError("'" + part + "' in '" + text + "' must have the form parameter=value");
    }
    if (!params.emplace(trim(part.substr(0, equals)), trim(part.substr(equals + 1))).second) {
      throw ConfigError("'" + text + "' gives parameter '" + trim(part.substr(0, equals)) + "' twice");
    }
  }
  return {trim(text.substr(0, open)), params};
}

}  // namespace fusegrid
