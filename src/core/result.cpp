#include "core/result.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "binary values are little-endian");

constexpr auto kMarks = "u8";
constexpr auto kReals = "f32";

json outcomes_json(const Outcomes& outcomes) {
  const bool marks = outcomes.are_marks();
  return {outcomes.split, outcomes.metric, outcomes.width, marks ? kMarks : kReals,
          marks ? binary_of(std::vector<uint8_t>(outcomes.rows.begin(), outcomes.rows.end()))
                : binary_of(outcomes.rows)};
}

Outcomes parse_outcomes(const json& fields) {
  Outcomes outcomes{fields.at(0), fields.at(1), fields.at(2), {}};
  if (const std::string type = fields.at(3); type == kMarks) {
    const auto marks = values_of<uint8_t>(fields.at(4));
    outcomes.rows.assign(marks.begin(), marks.end());
  } else if (type == kReals) {
    outcomes.rows = values_of<float>(fields.at(4));
  } else {
    throw DataError(std::string("outcomes are of the type ") + kMarks + " or " + kReals +
                    ", but these are '" + type + "'");
  }
  return outcomes;
}

}  // namespace

template <typename T>
json binary_of(const std::vector<T>& values) {
  const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
  return json::binary(std::vector<uint8_t>(begin, begin + values.size() * sizeof(T)));
}

template <typename T>
std::vector<T> values_of(const json& binary) {
  const auto& bytes = binary.get_binary();
  if (bytes.size() % sizeof(T) != 0) {
    throw DataError("binary values have " + std::to_string(bytes.size()) +
                    " bytes, which is no whole number of entries of " + std::to_string(sizeof(T)));
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

template json binary_of(const std::vector<uint8_t>&);
template json binary_of(const std::vector<int32_t>&);
template json binary_of(const std::vector<uint32_t>&);
template json binary_of(const std::vector<float>&);
template std::vector<uint8_t> values_of(const json&);
template std::vector<int32_t> values_of(const json&);
template std::vector<uint32_t> values_of(const json&);
template std::vector<float> values_of(const json&);

bool Outcomes::are_marks() const {
  // -0 would come back as 0
  return width == 1 && std::all_of(rows.begin(), rows.end(), [](float value) {
           return value == 1 || std::bit_cast<uint32_t>(value) == 0;
         });
}

std::string to_string(Status status) {
  switch (status) {
    case Status::kValid:
      return "valid";
    case Status::kInvalid:
      return "invalid";
    case Status::kFailed:
      return "failed";
  }
  FUSEGRID_ASSERT(false, "unknown status");
}

Status parse_status(const std::string& text) {
  for (const Status status : {Status::kValid, Status::kInvalid, Status::kFailed}) {
    if (text == to_string(status)) {
      return status;
    }
  }
  throw DataError("a result's status must be valid, invalid or failed, but it is '" + text + "'");
}

std::set<std::string> splits_of(const Result& result) {
  std::set<std::string> splits;
  const auto add = [&](const auto& part) { splits.insert(part.split); };
  std::for_each(result.metrics.begin(), result.metrics.end(), add);
  std::for_each(result.outcomes.begin(), result.outcomes.end(), add);
  std::for_each(result.predictions.begin(), result.predictions.end(), add);
  return splits;
}

void to_json(json& j, const Result& result) {
  json metrics = json::array();
  for (const auto& m : result.metrics) {
    metrics.push_back({m.name, m.split, m.value, m.count});
  }
  json outcomes = json::array();
  for (const auto& o : result.outcomes) {
    outcomes.push_back(outcomes_json(o));
  }
  json predictions = json::array();
  for (const auto& p : result.predictions) {
    predictions.push_back({p.split, binary_of(p.classes)});
  }
  j = {{"name", result.name},         {"status", to_string(result.status)},
       {"reason", result.reason},     {"transient", result.transient},
       {"log_tail", result.log_tail}, {"metrics", metrics},
       {"outcomes", outcomes},        {"predictions", predictions},
       {"bindings", result.bindings}, {"facts", result.facts},
       {"costs", result.costs},       {"attempts", result.attempts},
       {"worker", result.worker}};
}

void from_json(const json& j, Result& result) {
  result = {};
  result.name = j.at("name");
  result.status = parse_status(j.at("status"));
  result.reason = j.at("reason");
  result.transient = j.at("transient");
  result.log_tail = j.at("log_tail");
  for (const auto& m : j.at("metrics")) {
    result.metrics.push_back({m.at(0), m.at(1), m.at(2), m.at(3)});
  }
  for (const auto& o : j.at("outcomes")) {
    result.outcomes.push_back(parse_outcomes(o));
  }
  for (const auto& p : j.at("predictions")) {
    result.predictions.push_back({p.at(0), values_of<int32_t>(p.at(1))});
  }
  result.bindings = j.at("bindings").get<std::map<std::string, std::string>>();
  result.facts = j.at("facts").get<std::map<std::string, std::string>>();
  result.costs = j.at("costs").get<std::map<std::string, double>>();
  result.attempts = j.at("attempts");
  result.worker = j.at("worker");
}

}  // namespace fusegrid
