#include "metrics/metric.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "core/philox.h"
#include "core/text.h"
#include "metrics/text_overlap.h"
#include "support/source_folder.h"

namespace fusegrid {
namespace {

using testing::ElementsAre;

double uniform_number(uint64_t stream, uint64_t element) {
  return philox(11, stream, element)[0] * 0x1p-32;
}

// `examples` classes below `classes`; `stream` tells lists apart.
std::vector<int32_t> random_classes(uint64_t stream, size_t examples, int32_t classes) {
  std::vector<int32_t> list;
  for (size_t e = 0; e < examples; ++e) {
    list.push_back(static_cast<int32_t>(uniform_number(stream, e) * classes));
  }
  return list;
}

// Up to eight letters of three.
std::string random_text(uint64_t stream) {
  std::string text;
  for (int32_t letter : random_classes(stream, static_cast<size_t>(9 * uniform_number(stream, 0)), 3)) {
    text += static_cast<char>('a' + letter);
  }
  return text;
}

// The counts of two texts an example.
std::vector<float> random_ngrams(uint64_t stream, size_t examples) {
  std::vector<float> numbers;
  for (size_t e = 0; e < examples; ++e) {
    const uint64_t text = 1000 * stream + 2 * e;
    const NgramCounts counts = ngram_counts(random_text(text), random_text(text + 1));
    numbers.insert(numbers.end(), counts.begin(), counts.end());
  }
  return numbers;
}

int64_t width_of(const MetricRule& rule) {
  return rule.width == MetricRule::kTwoPerClass ? 4 : rule.width;
}

// Rows that a model may have: of two numbers a and b an example, a b and their squares where the rule is that wide.
std::vector<float> random_numbers(const MetricRule& rule, uint64_t stream, size_t examples) {
  if (rule.width == 3 * kLongestNgram) {
    return random_ngrams(stream, examples);
  }
  std::vector<float> numbers;
  for (size_t e = 0; e < examples; ++e) {
    const double a = uniform_number(stream, 2 * e);
    const double b = uniform_number(stream, 2 * e + 1);
    const std::vector<double> row{a, b, a * a, b * b, a * b};
    for (int64_t column = 0; column < width_of(rule); ++column) {
      numbers.push_back(static_cast<float>(row.at(static_cast<size_t>(column))));
    }
  }
  return numbers;
}

MetricRows random_rows(const MetricRule& rule, uint64_t stream, size_t examples) {
  return rule.row == MetricRow::kNumbers
             ? number_rows(width_of(rule), random_numbers(rule, stream, examples))
             : class_rows(random_classes(stream, examples, 4), random_classes(stream + 1000, examples, 4));
}

// The same examples in the order of `permutation`.
MetricRows permuted(const MetricRows& rows, const std::vector<int64_t>& permutation) {
  MetricRows result{rows.examples, rows.width, rows.entries};
  for (MetricRows::Entry& entry : result.entries) {
    entry.example = static_cast<uint32_t>(permutation[entry.example]);
  }
  std::stable_sort(result.entries.begin(), result.entries.end(),
                   [](const auto& a, const auto& b) { return a.example < b.example; });
  return result;
}

class EveryMetric : public testing::TestWithParam<std::string> {
 protected:
  const MetricRule& rule_ = metric_registry().at(GetParam());
};

TEST_P(EveryMetric, says_what_it_is) {
  EXPECT_EQ(rule_.name, GetParam());
  EXPECT_FALSE(rule_.title.empty());
  EXPECT_FALSE(rule_.doc.empty());
  EXPECT_GT(rule_.tolerance, 0);
  ASSERT_NE(rule_.finish, nullptr);
}

TEST_P(EveryMetric, does_not_depend_on_the_order_of_the_examples) {
  for (uint64_t stream = 0; stream < 20; ++stream) {
    const MetricRows rows = random_rows(rule_, stream, 50);
    const std::optional<double> value = value_of(rule_, rows);
    ASSERT_TRUE(value);
    EXPECT_NEAR(*value, value_of(rule_, permuted(rows, permutation(5, stream, 50))).value(), 1e-12);
  }
}

TEST_P(EveryMetric, is_a_finite_number_or_nothing) {
  for (uint64_t stream = 0; stream < 300; ++stream) {
    const auto value = value_of(rule_, random_rows(rule_, stream, 1 + stream % 4));
    EXPECT_TRUE(!value || std::isfinite(*value)) << stream;
  }
}

TEST_P(EveryMetric, of_no_example_is_nothing) {
  EXPECT_FALSE(value_of(rule_, random_rows(rule_, 0, 0)));
}

TEST_P(EveryMetric, is_the_same_on_two_copies_of_the_examples) {
  MetricRows rows = random_rows(rule_, 1, 40);
  const double once = value_of(rule_, rows).value();
  const std::vector<MetricRows::Entry> copy = rows.entries;
  for (MetricRows::Entry entry : copy) {
    entry.example += 40;
    rows.entries.push_back(entry);
  }
  rows.examples = 80;
  EXPECT_NEAR(value_of(rule_, rows).value(), once, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryMetric, testing::ValuesIn(metric_registry().names()),
                         [](const auto& metric) { return metric.param; });

template <typename Filter>
std::vector<std::string> metrics_where(const Filter& filter) {
  std::vector<std::string> names;
  for (const std::string& name : metric_registry().names()) {
    if (filter(metric_registry().at(name))) {
      names.push_back(name);
    }
  }
  return names;
}

class EveryClassMetric : public EveryMetric {};

TEST_P(EveryClassMetric, does_not_depend_on_names_of_classes_nor_on_those_that_do_not_occur) {
  const std::vector<int32_t> names{70, -3, 12, 40};  // by another order than 0 .. 3
  std::vector<int32_t> answers = random_classes(1, 60, 4);
  std::vector<int32_t> labels = random_classes(2, 60, 4);
  const MetricRows rows = class_rows(answers, labels);
  const double value = value_of(rule_, rows).value();
  for (std::vector<int32_t>* list : {&answers, &labels}) {
    for (int32_t& k : *list) {
      k = names[static_cast<size_t>(k)];
    }
  }
  EXPECT_NEAR(value_of(rule_, class_rows(answers, labels)).value(), value, 1e-12);
  MetricRows more = rows;
  more.width += 30;
  EXPECT_EQ(value_of(rule_, more).value(), value);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryClassMetric,
                         testing::ValuesIn(metrics_where([](const MetricRule& rule) {
                           return rule.row == MetricRow::kClassCounts;
                         })),
                         [](const auto& metric) { return metric.param; });

class MetricOfTwoClasses : public EveryMetric {};

TEST_P(MetricOfTwoClasses, is_undefined_where_all_labels_are_of_one) {
  EXPECT_FALSE(value_of(rule_, class_rows(std::vector<int32_t>{1, 1}, std::vector<int32_t>{1, 1})));
  EXPECT_FALSE(value_of(rule_, class_rows(std::vector<int32_t>{1, 0}, std::vector<int32_t>{1, 1})));
  EXPECT_TRUE(value_of(rule_, class_rows(std::vector<int32_t>{1, 1}, std::vector<int32_t>{1, 0})));
}

INSTANTIATE_TEST_SUITE_P(Registry, MetricOfTwoClasses,
                         testing::ValuesIn(metrics_where([](const MetricRule& rule) {
                           return rule.undefined == "all labels are of one class";
                         })),
                         [](const auto& metric) { return metric.param; });

TEST(Registry, names_are_the_file_stems) {
  std::set<std::string> stems;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() / "src/metrics/rules")) {
    stems.insert(entry.path().stem().string());
  }
  const auto names = metric_registry().names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), stems);
}

TEST(Registry, is_the_table_of_the_document) {
  std::string table =
      "| metric | title | definition | better | unit | undefined where | an expert is within |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const std::string& name : metric_registry().names()) {
    const MetricRule& rule = metric_registry().at(name);
    table += "| `" + rule.name + "` | " + rule.title + " | " + rule.doc + " | " + to_string(rule.better) +
             " | " + to_string(rule.unit) + " | " + (rule.undefined.empty() ? "-" : rule.undefined) + " | " +
             number_text(rule.tolerance) + " |\n";
  }
  std::ifstream stream(source_folder() / "docs/metrics.md", std::ios::binary);
  const std::string document{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_NE(document.find("\n\n" + table + "\n"), std::string::npos) << "docs/metrics.md must hold\n"
                                                                     << table;
}

TEST(NumberRows, are_the_numbers_that_are_not_zero) {
  const MetricRows rows = number_rows(2, std::vector<float>{1, 0, 0, 0, -2, 3});
  EXPECT_EQ(rows.examples, 3U);
  EXPECT_EQ(rows.width, 2U);
  std::vector<std::vector<double>> entries;
  for (const auto& [example, column, value] : rows.entries) {
    entries.push_back({static_cast<double>(example), static_cast<double>(column), value});
  }
  EXPECT_THAT(entries, ElementsAre(ElementsAre(0, 0, 1), ElementsAre(2, 0, -2), ElementsAre(2, 1, 3)));
}

TEST(ClassRows, count_labels_answers_and_both_by_class) {
  const MetricRows rows = class_rows(std::vector<int32_t>{7, 2, 7}, std::vector<int32_t>{7, 7, 2});
  EXPECT_EQ(rows.examples, 3U);
  std::vector<double> sums(rows.width, 0.0);
  for (const auto& entry : rows.entries) {
    sums[entry.column] += entry.value;
  }
  EXPECT_THAT(sums, ElementsAre(1, 1, 0, 2, 2, 1));  // class 2, then 7
}

TEST(Better, is_read_as_it_is_written) {
  for (const Better better : {Better::kHigher, Better::kLower}) {
    EXPECT_EQ(parse_better(to_string(better)), better);
  }
  EXPECT_THROW(parse_better("up"), DataError);
  EXPECT_TRUE(is_better(Better::kHigher, 2, 1));
  EXPECT_TRUE(is_better(Better::kLower, 1, 2));
  EXPECT_FALSE(is_better(Better::kHigher, 1, 1));
  EXPECT_FALSE(is_better(Better::kLower, 1, 1));
}

}  // namespace
}  // namespace fusegrid
