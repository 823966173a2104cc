// The subcommands, one .cpp each.
#pragma once

#include "cli/program.h"

namespace fusegrid {

ExitCode run_job(Invocation& in);
ExitCode print_cells(Invocation& in);
ExitCode print_status(Invocation& in);
ExitCode verify(Invocation& in);
ExitCode report(Invocation& in);
ExitCode list(Invocation& in);
ExitCode describe(Invocation& in);
ExitCode write_docs(Invocation& in);
ExitCode zoo(Invocation& in);

}  // namespace fusegrid
