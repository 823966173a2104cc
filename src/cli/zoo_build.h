#pragma once

#include "cli/program.h"

namespace fusegrid {

// Subcommands of `fusegrid zoo` whose work is done by all ranks.
ExitCode build_zoo(Invocation& in);
ExitCode pretrain_zoo(Invocation& in);

}  // namespace fusegrid
