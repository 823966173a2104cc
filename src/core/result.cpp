#include "core/result.h"

#include <cstring>

#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

json bytes_of(const void* data, size_t size) {
  const auto* begin = static_cast<const uint8_t*>(data);
  return json::binary(std::vector<uint8_t>(begin, begin + size));
}

template <typename T>
std::vector<T> values_of(const json& binary) {
  const auto& bytes = binary.get_binary();
  if (bytes.size() % sizeof(T) != 0) {
    throw DataError("outcomes have " + std::to_string(bytes.size()) +
                    " bytes, which is no whole number of entries");
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  return values;
}

}  // namespace

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

void to_json(json& j, const Result& result) {
  json metrics = json::array();
  for (const auto& m : result.metrics) {
    metrics.push_back({m.name, m.split, m.value, m.count});
  }
  json outcomes = json::array();
  for (const auto& o : result.outcomes) {
    outcomes.push_back({o.split, bytes_of(o.predictions.data(), o.predictions.size() * sizeof(uint16_t)),
                        bytes_of(o.correct.data(), o.correct.size())});
  }
  j = {{"name", result.name},         {"status", to_string(result.status)},
       {"reason", result.reason},     {"log_tail", result.log_tail},
       {"metrics", metrics},          {"outcomes", outcomes},
       {"facts", result.facts},       {"timings", result.timings},
       {"attempts", result.attempts}, {"worker", result.worker}};
}

void from_json(const json& j, Result& result) {
  result = {};
  result.name = j.at("name");
  result.status = parse_status(j.at("status"));
  result.reason = j.at("reason");
  result.log_tail = j.at("log_tail");
  for (const auto& m : j.at("metrics")) {
    result.metrics.push_back({m.at(0), m.at(1), m.at(2), m.at(3)});
  }
  for (const auto& o : j.at("outcomes")) {
    result.outcomes.push_back({o.at(0), values_of<uint16_t>(o.at(1)), values_of<uint8_t>(o.at(2))});
  }
  result.facts = j.at("facts").get<std::map<std::string, std::string>>();
  result.timings = j.at("timings").get<std::map<std::string, double>>();
  result.attempts = j.at("attempts");
  result.worker = j.at("worker");
}

}  // namespace fusegrid
