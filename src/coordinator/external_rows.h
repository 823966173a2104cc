// The sections [external:NAME] and [folder:NAME] of a job, from their text to what executors are told.
#pragma once

#include <string>
#include <vector>

#include "coordinator/grid.h"
#include "coordinator/job_file.h"
#include "fusion/external_row.h"

namespace fusegrid {

// Reads "key = value" of such a section and returns the key. ConfigError, without a place, where it is none of the
// section's, or the value is none that it can have.
std::string read_external_key(const std::string& line, const std::string& section, ExternalRow& row);
// A line that the section lacks; "" where it has what it needs.
std::string missing_line(const std::string& section, const ExternalRow& row);

// Finds the programs, and digests the files and models of a job's external rows: in the rows, for executors, and as
// bindings of their cells. ConfigError and DataError, with file and line, where something is missing, is no model of
// the zoo's architecture, or has NaN or Inf.
void bind_external_rows(JobSpec& job, const JobZoos& zoos, std::vector<Cell>& cells);

}  // namespace fusegrid
