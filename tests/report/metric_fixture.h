// Boards of other metrics than accuracy.
#pragma once

#include <string>
#include <vector>

#include "report/board_fixture.h"

namespace fusegrid {

// Records of tasks with these primary metrics and no results yet.
inline Records records_of(const std::vector<std::pair<std::string, std::string>>& metric_of_task) {
  Records records = toy_records({});
  for (const auto& [task, metric] : metric_of_task) {
    records.tasks[{"toy", task}] = toy_task(task, metric);
  }
  return records;
}

// A valid cell with the primary metric of its task, and nothing else of its examples.
inline Result& put_value(Records& records, const Cell& cell, double validation, double test,
                         size_t examples = 10) {
  const std::string& metric = records.tasks.at({"toy", cell.task}).metric;
  Result& result = records.results[cell.name()];
  result.name = cell.name();
  result.metrics = {{metric, "val", validation, 10}, {metric, "test", test, static_cast<int64_t>(examples)}};
  result.bindings["parameters"] = cell.parameters + (cell.method == "scaled" ? ",mode=sum" : "");
  return result;
}

// The same with the numbers of each test example, of which `test` is the metric. Tasks of numbers.
inline Result& put_numbers(Records& records, const Cell& cell, double validation,
                           const std::vector<float>& numbers) {
  const std::string& metric = records.tasks.at({"toy", cell.task}).metric;
  const MetricRule& rule = metric_registry().at(metric);
  const MetricRows rows = number_rows(rule.width, numbers);
  Result& result = put_value(records, cell, validation, value_of(rule, rows).value(), rows.examples);
  result.outcomes = {{"test", metric, rule.width, numbers}};
  return result;
}

// Labels of a task's test examples, each a group of its own.
inline void put_labels(Records& records, const std::string& task, const std::vector<int32_t>& labels) {
  ExamplesRecord examples{"toy", task, "test", labels, {}};
  for (uint32_t e = 0; e < labels.size(); ++e) {
    examples.groups.push_back(e);
  }
  records.examples[examples.key()] = examples;
}

// A cell with the class of each test example; without a test value where the metric is undefined. After put_labels().
inline Result& put_classes(Records& records, const Cell& cell, double validation,
                           const std::vector<int32_t>& classes) {
  const std::string& metric = records.tasks.at({"toy", cell.task}).metric;
  const auto& labels = records.examples.at({"toy", cell.task, "test"}).labels;
  const auto test = value_of(metric_registry().at(metric), class_rows(classes, labels));
  Result& result = put_value(records, cell, validation, test.value_or(0), labels.size());
  if (!test) {
    result.metrics.pop_back();
  }
  result.predictions = {{"test", classes}};
  return result;
}

// Tasks "ant" (accuracy), "bee_fly" (MCC) and "cow" (cross-entropy), one seed; with or without the experts' own scores.
inline Records mixed_records(bool with_own = true) {
  Records records = records_of({{"ant", "accuracy"}, {"bee_fly", "mcc"}, {"cow", "loss"}});
  put_labels(records, "bee_fly", {0, 0, 0, 1, 1, 1});
  const auto put_row = [&](const std::string& method, const std::string& parameters, double validation,
                           const std::vector<float>& ant, const std::vector<int32_t>& bee_fly,
                           const std::vector<float>& cow) {
    put_numbers(records, make_cell(method, parameters, "ant"), validation, ant);
    put_classes(records, make_cell(method, parameters, "bee_fly"), validation, bee_fly);
    put_numbers(records, make_cell(method, parameters, "cow"), 1.5 - validation, cow);
  };
  put_row("average", "", 0.5, {1, 1, 0, 0}, {0, 0, 1, 1, 1, 0}, {1, 2, 3});
  put_row("scaled", "scale=0.5,mode=sum", 0.7, {1, 1, 1, 0}, {0, 0, 0, 1, 1, 0}, {1, 1.5, 2});
  put_row("scaled", "scale=1,mode=sum", 0.6, {1, 1, 1, 1}, {0, 0, 0, 1, 1, 1}, {0.5, 1, 0.75});
  put_row("masks", "", 0.7, {1, 1, 0, 1}, {0, 0, 0, 1, 1, 1}, {0.5, 1.25, 1});
  if (with_own) {
    put_row("individual", "", 0.9, {1, 1, 1, 1}, {0, 0, 0, 1, 1, 1}, {0.5, 1, 1.5});
  }
  return records;
}

}  // namespace fusegrid
