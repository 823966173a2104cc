#pragma once

#include <utility>

#include "cli/options.h"
#include "merge/spec.h"

namespace fusegrid {

// What `fusegrid merge` understands.
Options merge_options();

// Of a host's cores, where they are shared by its ranks.
int share_of_cores(int ranks);

// The merge that command line and job file ask for; with --mergekit only what stands beside that file. place: of this
// rank on its host, and how many ranks that has; chooses the device, and loads CUDA for it. Throws UsageError,
// ConfigError, DeviceError.
MergeSpec read_merge_spec(const Options& options, const std::pair<int, int>& place);

}  // namespace fusegrid
