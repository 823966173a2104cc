// The sections [external:NAME] and [folder:NAME] of a job, from their text to what executors are told.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/grid.h"
#include "coordinator/job_file.h"
#include "fusion/external_row.h"

namespace fusegrid {

// The value of a key that takes the rest of its line.
struct LineValue {
  std::string text;  // without a comment
  // Separated by spaces. '...' keeps everything as it is; "..." keeps all but \" and \\, which stand for " and \. A '#'
  // outside of both begins a comment.
  std::vector<std::string> words;
};
// ConfigError where a quote has no end.
LineValue line_value(const std::string& text);

// Reads "key = value" of such a section and returns the key. ConfigError, without a place, where it is none of the
// section's, or the value is none that it can have.
std::string read_external_key(const std::string& line, const std::string& section, ExternalRow& row);
// A line that the section lacks; "" where it has what it needs.
std::string missing_line(const std::string& section, const ExternalRow& row);

// Finds the programs, and digests the files and models of a job's external rows: in the rows, for executors, and as
// bindings of their cells. ConfigError and DataError, with file and line, where something is missing, is no model of
// the zoo's architecture, or has NaN or Inf.
void bind_external_rows(JobSpec& job, const JobZoos& zoos, std::vector<Cell>& cells);

// Of the executor kind "grid", under "external": {"rows": {"<method>": row}, "folder": "<where commands write>"}.
nlohmann::json external_settings(const JobSpec& job, const std::filesystem::path& folder);

}  // namespace fusegrid
