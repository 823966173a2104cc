// The table of published results that a job names.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "coordinator/cell_data.h"
#include "coordinator/job_file.h"
#include "report/published_table.h"

namespace fusegrid {

struct PublishedFile {
  std::string name;  // as the job has it
  std::string text;
  PublishedTable table;
};

// nullopt where the job names none. Checked before anything runs: ConfigError where the file is missing or no table,
// where it calls cells otherwise than they are named, or where a zoo that it is of lacks one of its tasks or tests it
// on another number of examples. contents: by zoo name.
std::optional<PublishedFile> read_published_file(const JobSpec& job,
                                                 const std::map<std::string, PackContents>& contents);

}  // namespace fusegrid
