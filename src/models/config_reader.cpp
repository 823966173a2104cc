#include "models/config_reader.h"

#include <algorithm>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

constexpr int64_t kLargestSize = 10'000'000;

bool is_whole(const nlohmann::json& value, int64_t least) {
  return value.is_number_integer() && value >= least && value <= kLargestSize;
}

}  // namespace

int64_t ConfigReader::size(const std::string& field, int64_t otherwise) const {
  const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
  require(is_whole(value, 1), field, "a positive whole number");
  return value.get<int64_t>();
}

int64_t ConfigReader::size(const std::string& field) const {
  require(config_.contains(field), field, "a positive whole number");
  return size(field, 0);
}

std::optional<int64_t> ConfigReader::size_or_null(const std::string& field,
                                                  std::optional<int64_t> otherwise) const {
  if (!config_.contains(field)) {
    return otherwise;
  }
  return config_[field].is_null() ? std::nullopt : std::optional(size(field));
}

std::vector<int64_t> ConfigReader::sizes(const std::string& field) const {
  const nlohmann::json list = config_.value(field, nlohmann::json());
  const auto is_size = [](const nlohmann::json& value) { return is_whole(value, 1); };
  require(list.is_array() && !list.empty() && std::all_of(list.begin(), list.end(), is_size), field,
          "a list of positive whole numbers");
  return list.get<std::vector<int64_t>>();
}

std::vector<int64_t> ConfigReader::sizes(const std::string& field,
                                         const std::vector<int64_t>& otherwise) const {
  return config_.contains(field) ? sizes(field) : otherwise;
}

int64_t ConfigReader::count(const std::string& field, int64_t otherwise) const {
  const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
  require(is_whole(value, 0), field, "a whole number, 0 or more");
  return value.get<int64_t>();
}

double ConfigReader::positive(const std::string& field, double otherwise) const {
  const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
  require(value.is_number() && value > 0, field, "a positive number");
  return value.get<double>();
}

bool ConfigReader::flag(const std::string& field, bool otherwise) const {
  const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
  require(value.is_boolean(), field, "true or false");
  return value.get<bool>();
}

std::string ConfigReader::one_of(const std::string& field, const std::string& otherwise,
                                 const std::vector<std::string>& known) const {
  const nlohmann::json value = config_.value(field, nlohmann::json(otherwise));
  const bool is_known =
      value.is_string() && std::find(known.begin(), known.end(), value.get<std::string>()) != known.end();
  require(is_known, field, join(known, " or "));
  return value.get<std::string>();
}

Activation ConfigReader::activation(const std::string& field, const std::string& otherwise,
                                    const std::vector<std::string>& known) const {
  return parse_activation(one_of(field, otherwise, known));
}

void ConfigReader::require_only(const std::string& field, const nlohmann::json& supported) const {
  require(config_.value(field, supported) == supported, field, supported.dump());
}

void ConfigReader::require(bool condition, const std::string& field, const std::string& rule) const {
  if (!condition) {
    throw ConfigError("config.json: " + where_ + field + " must be " + rule + ", but it is " +
                      (config_.contains(field) ? config_[field].dump() : std::string("missing")));
  }
}

}  // namespace fusegrid
