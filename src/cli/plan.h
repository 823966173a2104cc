#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/published_file.h"
#include "coordinator/estimate.h"
#include "coordinator/grid.h"
#include "coordinator/job_file.h"
#include "core/cell.h"
#include "store/records.h"

namespace fusegrid {

// A job file with everything that could be checked: what `run` and `cells` begin with.
struct Plan {
  JobSpec job;
  JobZoos zoos;
  std::map<std::string, ZooSize> sizes;  // by zoo name
  std::vector<Cell> cells;               // of the whole job
  std::string sha256;                    // of the cells' names, one a line: identity of the plan
  std::optional<PublishedFile> published;
};
// Throws ConfigError on the first mistake of the job.
Plan make_plan(const std::filesystem::path& job_file);

// The cells of the plan that --only finds, or all. UsageError where it finds none.
std::vector<Cell> selected_cells(const Plan& plan, const Options& options);

// results/<stem of the job file>
std::filesystem::path default_results(const std::filesystem::path& job_file);

// Records of a folder that may not be there yet; reads only.
Records recorded_in(const std::filesystem::path& folder);

// The command that runs one cell again.
std::string rerun_line(const std::string& job_file, const std::filesystem::path& results,
                       const std::string& cell);

}  // namespace fusegrid
