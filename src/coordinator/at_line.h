#pragma once

#include "coordinator/job_file.h"
#include "core/errors.h"

namespace fusegrid {

// Runs `step`; a ConfigError or DataError of it is thrown again with the place in the job file before its message.
template <typename Step>
auto at_line(const JobSpec& job, int line, const Step& step) {
  try {
    return step();
  } catch (const ConfigError& error) {
    throw ConfigError(job.where(line) + error.what());
  } catch (const DataError& error) {
    throw DataError(job.where(line) + error.what());
  }
}

}  // namespace fusegrid
