#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/options.h"

namespace fusegrid {

// The results folder of a job: --results, else results/<name of the job file>. Nothing is made.
//   Throws UsageError: it, or a folder that it would be made in, is none; IoError: nothing may be written there.
std::filesystem::path results_folder(const Options& options, const std::filesystem::path& job_file);

// The argument RESULTS, or another that names a results folder. ConfigError where there is no such folder; names the
// nearest beside it.
std::filesystem::path existing_results(const Options& options, const std::string& argument = "RESULTS");
// The same of several folders.
std::vector<std::filesystem::path> existing_results_of(const std::vector<std::string>& names);

}  // namespace fusegrid
