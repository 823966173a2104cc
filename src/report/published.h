// The rows of results beside those that others have published, as a pure function of the recorded results.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "report/published_table.h"
#include "store/records.h"

namespace fusegrid {

// One number of a row, in points (see PublishedUnit).
struct ComparedNumber {
  std::optional<PublishedNumber> published = {};
  std::optional<double> here = {};    // mean over seeds
  std::optional<double> points = {};  // here - published
  std::optional<double> right = {};   // the same in right answers, where these are published
  bool outside = false;               // of the tolerance
};

enum class RowState { kWithin, kOutside, kIncomplete, kNotRun };

struct ComparedRow {
  PublishedRow published = {};
  std::vector<ComparedNumber> by_task = {};  // [tasks of the table]
  ComparedNumber average = {};
  ComparedNumber unseen = {};
  RowState state = RowState::kNotRun;
  std::string reason = {};  // of kNotRun and kIncomplete
  bool saw_test = false;    // an expert that it is made of was trained on its task's test examples
};

// A table beside one board of the job that names it.
struct ComparedBoard {
  std::string job = {};  // that names the table
  PublishedTable table = {};
  std::string zoo = {};
  std::string experts = {};
  std::string shift = {};
  std::vector<int64_t> seeds = {};
  std::vector<ComparedRow> rows = {};         // as the table has them
  std::vector<std::string> unpublished = {};  // settings here, as cells are named, that the table has not
  std::vector<std::string> extra_tasks = {};  // of the board, that the table has not
};

// The text of a table and the file that it was read from, as a launch of a job that names one records them.
nlohmann::json published_record(const std::string& text, const std::string& file);

// Each board of a job that names a table, beside its table: by job, and in the order of the table. ConfigError: no job
// of the results names one; none of the boards is one of its table; a task that the table has is not tested; it has
// another number of test examples.
std::vector<ComparedBoard> compare_with_published(const Records& records);

// kDiffers where a number lies outside its tolerance, else kCellsFailed where one is missing of a row that was run.
ExitCode outcome_of(const std::vector<ComparedBoard>& boards);

}  // namespace fusegrid
