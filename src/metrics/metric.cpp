#include "metrics/metric.h"

#include <algorithm>

#include "core/errors.h"

namespace fusegrid {
namespace {

// The classes that occur, sorted.
std::vector<int32_t> occurring(std::span<const int32_t> answers, std::span<const int32_t> labels) {
  std::vector<int32_t> classes(answers.begin(), answers.end());
  classes.insert(classes.end(), labels.begin(), labels.end());
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

uint32_t position(const std::vector<int32_t>& classes, int32_t name) {
  return static_cast<uint32_t>(std::lower_bound(classes.begin(), classes.end(), name) - classes.begin());
}

}  // namespace

std::string to_string(Better better) {
  return better == Better::kHigher ? "higher" : "lower";
}

Better parse_better(const std::string& text) {
  for (const Better better : {Better::kHigher, Better::kLower}) {
    if (text == to_string(better)) {
      return better;
    }
  }
  throw DataError("the better side of a metric is higher or lower, but it is '" + text + "'");
}

bool is_better(Better better, double a, double b) {
  return better == Better::kHigher ? a > b : a < b;
}

std::string to_string(Unit unit) {
  switch (unit) {
    case Unit::kFraction:
      return "fraction";
    case Unit::kNats:
      return "nats";
    case Unit::kMetres:
      return "metres";
    case Unit::kDegrees:
      return "degrees";
    case Unit::kNone:
      return "none";
  }
  FUSEGRID_ASSERT(false, "unknown unit");
}

Unit parse_unit(const std::string& text) {
  for (const Unit unit : {Unit::kFraction, Unit::kNats, Unit::kMetres, Unit::kDegrees, Unit::kNone}) {
    if (text == to_string(unit)) {
      return unit;
    }
  }
  throw DataError("the unit of a metric is fraction, nats, metres, degrees or none, but it is '" + text +
                  "'");
}

bool MetricRule::is_mean() const {
  return finish == mean_of_rows;
}

bool MetricRule::has_width(int64_t numbers) const {
  return width == kTwoPerClass ? numbers > 0 && numbers % 2 == 0 : numbers == width;
}

std::optional<double> mean_of_rows(std::span<const double> sums, double examples) {
  return sums[0] / examples;
}

std::optional<double> ratio_of_sums(std::span<const double> sums, double) {
  return sums[1] > 0 ? std::optional(sums[0] / sums[1]) : std::nullopt;
}

Registry<MetricRule>& metric_registry() {
  static Registry<MetricRule> registry("metric");
  return registry;
}

MetricRule mean_rule(const std::string& name, Better better, Unit unit) {
  return {.name = name,
          .title = name,
          .doc = "mean of a number of each example",
          .undefined = "",
          .better = better,
          .unit = unit,
          .finish = mean_of_rows};
}

MetricRule fraction_rule(const std::string& name, const std::string& title, const std::string& doc) {
  MetricRule rule = mean_rule(name, Better::kHigher, Unit::kFraction);
  rule.title = title;
  rule.doc = doc;
  return rule;
}

MetricRows number_rows(int64_t width, std::span<const float> numbers) {
  const auto columns = static_cast<size_t>(width);
  FUSEGRID_ASSERT(columns > 0 && numbers.size() % columns == 0, "rows of " + std::to_string(width));
  MetricRows rows{numbers.size() / columns, columns, {}};
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] != 0) {
      rows.entries.push_back(
          {static_cast<uint32_t>(i / columns), static_cast<uint32_t>(i % columns), numbers[i]});
    }
  }
  return rows;
}

MetricRows class_rows(std::span<const int32_t> answers, std::span<const int32_t> labels) {
  FUSEGRID_ASSERT(answers.size() == labels.size(), "answers and labels are one per example");
  const std::vector<int32_t> classes = occurring(answers, labels);
  MetricRows rows{labels.size(), 3 * classes.size(), {}};
  for (size_t e = 0; e < labels.size(); ++e) {
    const auto example = static_cast<uint32_t>(e);
    const uint32_t label = 3 * position(classes, labels[e]);
    rows.entries.push_back({example, label, 1});
    rows.entries.push_back({example, 3 * position(classes, answers[e]) + 1, 1});
    if (answers[e] == labels[e]) {
      rows.entries.push_back({example, label + 2, 1});
    }
  }
  return rows;
}

std::optional<double> value_of(const MetricRule& rule, const MetricRows& rows) {
  if (rows.examples == 0) {
    return std::nullopt;
  }
  std::vector<double> sums(rows.width, 0.0);
  for (const MetricRows::Entry& entry : rows.entries) {
    sums[entry.column] += entry.value;
  }
  return rule.finish(sums, static_cast<double>(rows.examples));
}

}  // namespace fusegrid
