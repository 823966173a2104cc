#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/registry.h"

namespace fusegrid {

enum class Better { kHigher, kLower };
std::string to_string(Better better);               // "higher", "lower"
Better parse_better(const std::string& text);       // DataError where it is neither
bool is_better(Better better, double a, double b);  // whether a is better than b

enum class Unit {
  kFraction,  // in [0, 1], shown in %
  kNats,
  kMetres,
  kDegrees,
  kNone,
};
std::string to_string(Unit unit);          // "fraction", "nats", "metres", "degrees", "none"
Unit parse_unit(const std::string& text);  // DataError where it is none

// The numbers of an example whose sums over examples a metric is a function of.
enum class MetricRow {
  kNumbers,  // [width], recorded with the answer (core/result.h: Outcomes)
  kClassCounts,  // [classes, 3], made of the class answered and the label: 1 in column 0 of the label, 1 in column 1 of
                 // the answer, 1 in column 2 of the label where both are the same
};

// A metric: a function of the sums of its rows, so that it can be resampled, paired and compared as an accuracy can.
// One .cpp of src/metrics/rules each, registering itself.
struct MetricRule {
  static constexpr int64_t kTwoPerClass = 0;

  std::string name;       // "macro_f1"; stem of the file, key in results
  std::string title;      // "Macro F1"
  std::string doc;        // its definition
  std::string undefined;  // when it has no value: "all labels are of one class"; "" where it always has one
  Better better = Better::kHigher;
  Unit unit = Unit::kNone;
  MetricRow row = MetricRow::kNumbers;
  int64_t width = 1;  // of kNumbers; kTwoPerClass: two for each class of the task
  // Value of the examples with these sums; nullopt where the metric is undefined. Finite sums give no NaN. Of
  // kClassCounts: classes without a count change nothing, nor does the order of the classes.
  std::optional<double> (*finish)(std::span<const double> sums, double examples) = nullptr;
  // How far, in its unit, an expert may be from its recorded score. A score nearer to 0 is no unit to measure others
  // in.
  double tolerance = 0.01;

  // Whether it is the mean of a number: then the mean over replicates is that of their examples together.
  bool is_mean() const;
  // Whether an example may have so many numbers.
  bool has_width(int64_t numbers) const;
};

// The finish of metrics that are the mean of a number.
std::optional<double> mean_of_rows(std::span<const double> sums, double examples);
// Of metrics that are a mean over parts of examples (pixels), of which an example has any number: the first of two
// sums, divided by the second, which counts the parts.
std::optional<double> ratio_of_sums(std::span<const double> sums, double examples);

Registry<MetricRule>& metric_registry();

// A metric that the registry does not have, of which is known that it is the mean of a number of each example.
MetricRule mean_rule(const std::string& name, Better better = Better::kHigher, Unit unit = Unit::kNone);
// The mean of a fraction of each example (1 where an answer is right, else 0), of which more is better.
MetricRule fraction_rule(const std::string& name, const std::string& title, const std::string& doc);

// The rows of a split's examples, without their zeros.
struct MetricRows {
  struct Entry {
    uint32_t example = 0;
    uint32_t column = 0;
    double value = 0;
  };
  size_t examples = 0;
  size_t width = 0;
  std::vector<Entry> entries;  // by example
};
// numbers: [examples, width].
MetricRows number_rows(int64_t width, std::span<const float> numbers);
// answers, labels: the class of each example; any numbers, of which those that occur become classes 0, 1, ... in their
// order.
MetricRows class_rows(std::span<const int32_t> answers, std::span<const int32_t> labels);

// Value of a split; nullopt where the metric is undefined, as it is of no example. Sums in float64, in the order of the
// examples.
std::optional<double> value_of(const MetricRule& rule, const MetricRows& rows);

}  // namespace fusegrid
