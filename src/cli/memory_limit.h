#pragma once

#include "coordinator/job_file.h"

namespace fusegrid {

// ConfigError where the job's memory limit is less than an executor's address space before it has loaded any model, so
// that every cell would fail.
void check_memory_limit(const JobSpec& job);

}  // namespace fusegrid
