// `fusegrid merge --mergekit FILE`.
#pragma once

#include <functional>

#include "cli/options.h"
#include "comm/collectives.h"
#include "merge/spec.h"

namespace fusegrid {

// Merges every document of the file by `merge`, in an order in which their inputs are there. Documents whose results
// are there from an earlier run, made of the same inputs, are not merged again. With --print-job nothing is merged: the
// job file of each that has one is printed. Collective.
//   common  what the command line says besides
ExitCode merge_stages(Invocation& in, const Options& options, Collectives& group, const MergeSpec& common,
                      const std::function<ExitCode(const MergeSpec&)>& merge);

}  // namespace fusegrid
