#include "tasks/external_task.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

using nlohmann::json;

constexpr const char* kCount = "count";
constexpr const char* kOutcomes = "outcomes";
constexpr double kRounding = 1e-6;  // of a value against its outcomes, which are recorded in single precision
constexpr size_t kLongestName = 100;
constexpr int64_t kMostExamples = int64_t{1} << 30;

const json& member(const json& object, const std::string& name, const std::string& where) {
  if (!object.is_object() || !object.contains(name)) {
    throw DataError(where + " must be an object with a member '" + name + "', but it " +
                    (object.is_object() ? "has none" : "is " + std::string(object.type_name())));
  }
  return object.at(name);
}

// It becomes a column of the results.
void check_metric_name(const std::string& name, const std::string& where) {
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7f;
  });
  if (name.empty() || name.size() > kLongestName || control) {
    throw DataError(where + ": the name of a metric must have 1 to " + std::to_string(kLongestName) +
                    " bytes without control characters, but it is " + json(name).dump().substr(0, 40));
  }
}

double finite_number(const json& value, const std::string& what) {
  const bool is_number = value.is_number() || value.is_boolean();
  const double number = value.is_boolean() ? value.get<bool>() : is_number ? value.get<double>() : 0;
  if (!is_number || !std::isfinite(number)) {
    throw DataError(what + " must be a finite number, but it is " + value.dump().substr(0, 40));
  }
  return number;
}

int64_t count_of(const json& value, const std::string& where) {
  const bool is_whole = value.is_number_integer() && value >= 1 && value <= kMostExamples;
  if (!is_whole) {
    throw DataError(where + ": '" + kCount + "' must be the number of examples, at least 1, but it is " +
                    value.dump().substr(0, 40));
  }
  return value.get<int64_t>();
}

// Numbers of an example; of a metric that the program does not know, the one whose mean it is. rows: not empty.
int64_t width_of(const std::string& metric, const json& rows, const std::string& where) {
  if (!metric_registry().contains(metric)) {
    return 1;
  }
  const MetricRule& rule = metric_registry().at(metric);
  if (rule.row != MetricRow::kNumbers) {
    throw DataError(where + ": '" + metric +
                    "' is computed from classes, so that no numbers of examples say it; leave its outcomes "
                    "out");
  }
  if (rule.width != MetricRule::kTwoPerClass) {
    return rule.width;
  }
  const auto width = static_cast<int64_t>(rows.front().size());
  if (!rows.front().is_array() || !rule.has_width(width)) {
    throw DataError(where + ": outcomes of '" + metric +
                    "' must be arrays of two numbers for each class, but the first is " +
                    rows.front().dump().substr(0, 40));
  }
  return width;
}

void append_row(const json& row, int64_t width, const std::string& what, std::vector<float>& rows) {
  if (width == 1) {
    rows.push_back(static_cast<float>(finite_number(row, what)));
    return;
  }
  if (!row.is_array() || static_cast<int64_t>(row.size()) != width) {
    throw DataError(what + " must be an array of " + number_text(width) + " numbers, but it is " +
                    row.dump().substr(0, 40));
  }
  for (const json& number : row) {
    rows.push_back(static_cast<float>(finite_number(number, "a number of " + what)));
  }
}

std::optional<double> value_of_rows(const std::string& metric, const Outcomes& outcomes) {
  const auto rows = number_rows(outcomes.width, outcomes.rows);
  return value_of(metric_registry().contains(metric) ? metric_registry().at(metric) : mean_rule(metric),
                  rows);
}

Outcomes outcomes_of(const json& rows, const std::string& metric, const Answers& answers,
                     const std::string& where) {
  const std::string what = where + ": 'outcomes' of '" + metric + "'";
  if (!answers.metrics.contains(metric)) {
    throw DataError(what + " must be those of a metric that is there, but there is no number '" + metric +
                    "'");
  }
  if (!rows.is_array() || static_cast<int64_t>(rows.size()) != answers.examples) {
    throw DataError(what + " must be an array of one entry for each of the " + number_text(answers.examples) +
                    " examples, but " +
                    (rows.is_array() ? "it has " + std::to_string(rows.size())
                                     : "it is " + std::string(rows.type_name())));
  }
  Outcomes outcomes{"", metric, width_of(metric, rows, where), {}};
  for (size_t i = 0; i < rows.size(); ++i) {
    append_row(rows[i], outcomes.width, what + ", example " + std::to_string(i) + ",", outcomes.rows);
  }
  const double said = answers.metrics.at(metric);
  const auto value = value_of_rows(metric, outcomes);
  if (!value || !(std::abs(*value - said) <= kRounding * std::max(1.0, std::abs(said)))) {
    throw DataError(what + " must give the metric, " + number_text(said) + ", but they give " +
                    (value ? number_text(*value) : "none"));
  }
  return outcomes;
}

void check_primary(const Answers& answers, const ExternalTask& task, const std::string& where) {
  const auto primary = answers.metrics.find(task.metric);
  if (primary == answers.metrics.end()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : answers.metrics) {
      names.push_back("'" + name + "'");
    }
    throw DataError(where + " must have the metric of the task, '" + task.metric + "', but " +
                    (names.empty() ? "has none" : "has " + join(names, ", ")) +
                    "; correct the command, or 'metric' in the job");
  }
  if (task.unit == Unit::kFraction && (primary->second < 0 || primary->second > 1)) {
    throw DataError(where + ": '" + task.metric + "' must lie in [0, 1], as a fraction does, but it is " +
                    number_text(primary->second) + "; divide by 100, or write 'unit = none' in the job");
  }
}

}  // namespace

void to_json(json& json, const ExternalTask& task) {
  json = {{"command", task.command},      {"metric", task.metric}, {"better", to_string(task.better)},
          {"unit", to_string(task.unit)}, {"expert", task.expert}, {"has_validation", task.has_validation},
          {"limit", task.limit}};
}

void from_json(const json& json, ExternalTask& task) {
  task = {.command = json.at("command"),
          .metric = json.at("metric"),
          .better = parse_better(json.at("better")),
          .unit = parse_unit(json.at("unit")),
          .expert = json.at("expert"),
          .has_validation = json.at("has_validation"),
          .limit = json.at("limit")};
}

Answers read_external_answer(const std::string& text, const std::string& name, const ExternalTask& task) {
  json all;
  try {
    all = json::parse(text);
  } catch (const json::exception& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    throw DataError("it is no JSON, which has neither NaN nor Infinity: " + what.substr(what.find("] ") + 2));
  }
  const std::string where = "'" + name + "'";
  const json& answer = member(all, name, "it");
  Answers answers;
  answers.examples = count_of(member(answer, kCount, where), where);
  for (const auto& [key, value] : answer.items()) {
    if (key != kCount && key != kOutcomes) {
      check_metric_name(key, where);
      answers.metrics[key] = finite_number(value, where + ": '" + key + "'");
    }
  }
  check_primary(answers, task, where);
  if (answer.contains(kOutcomes)) {
    const json& outcomes = answer.at(kOutcomes);
    if (!outcomes.is_object()) {
      throw DataError(where + ": 'outcomes' must be an object with the outcomes of each metric, but it is " +
                      outcomes.type_name());
    }
    for (const auto& [metric, rows] : outcomes.items()) {
      answers.outcomes.push_back(outcomes_of(rows, metric, answers, where));
    }
  }
  return answers;
}

}  // namespace fusegrid
