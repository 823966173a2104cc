#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

#include "coordinator/job_file.h"

namespace fusegrid {

// What executors must know of the commands of a job: of the executor kind "grid", under "external":
//   {"rows": {"<method>": row}, "tasks": {"<task>": task}, "folder": "<where models and answers are written>"}
// The digests of files must be there (bind_external_rows(), bind_external_tasks()).
nlohmann::json external_settings(const JobSpec& job, const std::filesystem::path& folder);

}  // namespace fusegrid
