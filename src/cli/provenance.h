#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/transport.h"

namespace fusegrid {

// Facts of one launch that decide or explain its numbers: command line, time, program and library versions,
// host, CPU and GPUs of the coordinator, number of ranks, environment variables of launchers and GPU
// libraries. (The devices of workers are recorded with each result.)
nlohmann::json launch_provenance(const std::vector<std::string>& argv, const Transport& transport);

// Lines of --version.
std::string version_text();

// The environment variables whose names begin with one of these: NCCL_, OMPI_, CUDA_, SLURM_, FUSEGRID_.
// Those that hold keys of a session (..._KEY, ..._TOKEN, ..._COOKIE) are left out.
nlohmann::json environment_subset(const char* const* environment);

}  // namespace fusegrid
