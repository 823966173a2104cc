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
  result.timings = {{"fuse", cell.task == "ant" ? 0.25 : 0.0}, {"evaluate", 3}};
  return result;
}

inline Cell make_cell(const std::string& method, const std::string& parameters, const std::string& task,
                      int64_t seed = 0, const std::string& experts = "2") {
  return {"toy", experts, method, parameters, seed, task, "clean"};
}

inline void put(Results& results, const Cell& cell, double validation, const std::string& outcomes,
                double stored = 100) {
  results[cell.name()] = make_result(cell, validation, bits(outcomes), stored);
}

inline KnownMethods toy_methods() {
  KnownMethods methods;
  const auto add = [&](const MethodCard& card, const std::string& defaults) {
    methods[card.name] = {card, defaults};
  };
  add({.name = "average", .title = "Average", .paper = "-", .formula = ""}, "");
  add({.name = "scaled",
       .title = "Scaled & Sons",
       .paper = "-",
       .formula = "",
       .family = Family::kTaskVector},
      "scale=0.3,mode=sum");
  add({.name = "fisher",
       .title = "Fisher",
       .paper = "-",
       .formula = "",
       .needs = {Need::kTrainInputs, Need::kGradients}},
      "");
  add({.name = "masks",
       .title = "Masks",
       .paper = "-",
       .formula = "",
       .yields = Yields::kModelPerTask,
       .needs_task_identity = true},
      "");
  add({.name = "adapt", .title = "Adapt_it|now", .paper = "-", .formula = "", .needs = {Need::kTestInputs}},
      "");
  add({.name = "individual",
       .title = "Individual",
       .paper = "-",
       .formula = "",
       .family = Family::kReference,
       .yields = Yields::kModelPerTask,
       .needs_task_identity = true},
      "");
  return methods;
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
