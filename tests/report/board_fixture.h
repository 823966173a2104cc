// Small boards whose numbers can be checked by hand.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/cell.h"
#include "report/board.h"

namespace fusegrid {

using Results = std::map<std::string, Result>;

// "1101" -> outcomes of four examples.
inline std::vector<uint8_t> bits(const std::string& text) {
  std::vector<uint8_t> values;
  for (const char c : text) {
    values.push_back(c == '1' ? 1 : 0);
  }
  return values;
}

// A valid cell: validation accuracy as given, test accuracy from the outcomes.
inline Result make_result(const Cell& cell, double validation, const std::vector<uint8_t>& correct,
                          double stored = 100) {
  double right = 0;
  for (const uint8_t bit : correct) {
    right += bit;
  }
  const auto count = static_cast<int64_t>(correct.size());
  Result result;
  result.name = cell.name();
  result.metrics = {{"accuracy", "val", validation, 10},
                    {"accuracy", "test", right / static_cast<double>(count), count},
                    {"loss", "val", 1 - validation, 10},
                    {"loss", "test", 0.5, count}};
  result.outcomes = {{"test", "accuracy", 1, {correct.begin(), correct.end()}}};
  result.bindings["parameters"] = cell.parameters;
  result.facts["stored_parameters"] = std::to_string(stored);
  result.facts["device"] = "Toy_CPU, AVX2";
  result.costs = {{"fuse_s", cell.task == "ant" ? 0.25 : 0.0}, {"evaluate_s", 3}};
  if (cell.task == "ant") {
    result.costs["fuse_operations"] = 12'300'000;
    result.costs["fuse_peak_bytes"] = 5'242'880;
  }
  return result;
}

// parameters: all; in the cell's name stand those other than "mode=sum".
inline Cell make_cell(const std::string& method, const std::string& parameters, const std::string& task,
                      int64_t seed = 0, const std::string& experts = "2") {
  return {"toy", experts, method, parameters.substr(0, parameters.find(",mode=sum")), seed, task, "clean"};
}

inline void put(Results& results, const Cell& cell, double validation, const std::string& outcomes,
                double stored = 100) {
  Result& result = results[cell.name()] = make_result(cell, validation, bits(outcomes), stored);
  result.bindings["parameters"] += cell.method == "scaled" ? ",mode=sum" : "";
}

inline std::map<std::string, MethodRecord> toy_methods() {
  std::map<std::string, MethodRecord> methods;
  const auto add = [&](const MethodRecord& method) { methods[method.name] = method; };
  add({"average", "Average", "-", "averaging", "", "one model", false});
  add({"scaled", "Scaled & Sons", "-", "task vector", "", "one model", false});
  add({"fisher", "Fisher", "-", "statistics", "train inputs, gradients", "one model", false});
  add({"masks", "Masks", "-", "averaging", "", "one model per task", true});
  add({"adapt", "Adapt_it|now", "-", "averaging", "test inputs (unlabelled)", "one model", false});
  add({"individual", "Individual", "-", "reference", "", "one model per task", true});
  return methods;
}

// A task whose primary metric is `metric`, one of those that are registered.
inline TaskRecord toy_task(const std::string& task, const std::string& metric = "accuracy") {
  const MetricRule& rule = metric_registry().at(metric);
  return {"toy", task, "classify", metric, to_string(rule.better), to_string(rule.unit), task};
}

inline Records toy_records(const Results& results) {
  Records records;
  records.results = results;
  records.methods = toy_methods();
  for (const std::string task : {"ant", "bee", "bee_fly"}) {
    records.tasks[{"toy", task}] = toy_task(task);
  }
  return records;
}

// The groups of a task's test examples.
inline void put_groups(Records& records, const std::string& task, const std::vector<uint32_t>& groups) {
  ExamplesRecord examples{"toy", task, "test", std::vector<int32_t>(groups.size(), 0), groups};
  records.examples[examples.key()] = examples;
}

// Tasks "ant" (4 examples) and "bee_fly" (5), one seed.
inline Results toy_results() {
  Results results;
  put(results, make_cell("average", "", "ant"), 0.5, "1100");
  put(results, make_cell("average", "", "bee_fly"), 0.5, "11000");
  // scale=1 is best on test, scale=0.5 on validation
  put(results, make_cell("scaled", "scale=0.5,mode=sum", "ant"), 0.7, "1110");
  put(results, make_cell("scaled", "scale=0.5,mode=sum", "bee_fly"), 0.7, "11100");
  put(results, make_cell("scaled", "scale=1,mode=sum", "ant"), 0.6, "1111");
  put(results, make_cell("scaled", "scale=1,mode=sum", "bee_fly"), 0.7, "11111");
  put(results, make_cell("masks", "", "ant"), 0.7, "1101", 225);
  put(results, make_cell("masks", "", "bee_fly"), 0.7, "11110", 225);
  put(results, make_cell("individual", "", "ant"), 0.9, "1111", 200);
  put(results, make_cell("individual", "", "bee_fly"), 0.9, "11110", 200);
  put(results, make_cell("adapt", "", "ant"), 0.5, "1010");
  Result failed;
  failed.name = make_cell("adapt", "", "bee_fly").name();
  failed.status = Status::kFailed;
  failed.bindings["parameters"] = "";
  failed.reason = "signal 11\n(segmentation | fault) at 50% of_x";
  results[failed.name] = failed;
  return results;
}

inline const Row& row_of(const Board& board, const std::string& method) {
  for (const Row& row : board.rows) {
    if (row.setting.method == method) {
      return row;
    }
  }
  throw std::out_of_range("no row " + method);
}

}  // namespace fusegrid
