// What changed between two results folders: two runs, two versions of the program, two machines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/score.h"
#include "store/records.h"

namespace fusegrid {

enum class Change {
  kNone,    // the same number
  kNoise,   // another number, as another draw of examples would give
  kWorse,   // beyond noise
  kBetter,  // beyond noise
};

// A number of both folders: the primary metric of a cell, or the score of a setting over its tasks and seeds.
struct Compared {
  std::string name;  // of the cell, or "zoo/experts=E/method{parameters}@shift"
  TaskMetric metric;
  double before = 0, after = 0;
  // Of no change, two-sided; absent where the examples' numbers are not recorded or not those of the same examples, so
  // that nothing is known about noise.
  std::optional<double> p = {};
  Change change = Change::kNone;
};

struct Changes {
  std::vector<Compared> cells;     // valid in both, by name
  std::vector<Compared> settings;  // with several cells that are valid in both, by name
  // Names of cells, sorted.
  std::vector<std::string> only_before, only_after;  // the other folder has no result
  std::vector<std::string> broken, mended;           // valid before alone, and after alone
  std::vector<std::string> bindings;                 // what both rest on and is another: "input: old -> new"

  // Whether something is beyond noise, or no longer valid.
  bool differ() const;
};

// Compares cells by name on the test split, those that were only validated on `val`. A number changed beyond noise
// where it differs by more than a tenth of its metric's tolerance and the paired difference is significant at 5 %: by
// Student's t over groups of examples (delete-one jackknife), corrected for the number of cells, or of settings, that
// are tested (Holm). A difference of which nothing is known about noise is beyond it where it is above the tolerance.
//   Throws ConfigError: no cell is in both; DataError: a task is not described.
//   Source  Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11; Holm, "A Simple Sequentially
//           Rejective Multiple Test Procedure", 1979.
Changes compare_results(const Records& before, const Records& after);

// As text for a terminal: counts, what differs beneath, and every number that changed beyond noise.
std::string changes_text(const Changes& changes);
// One row per cell and setting in both.
std::string csv_changes(const Changes& changes);

}  // namespace fusegrid
