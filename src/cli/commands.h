// The subcommands, one .cpp each.
#pragma once

#include "cli/program.h"

namespace fusegrid {

ExitCode run_job(Invocation& in);
ExitCode print_cells(Invocation& in);
ExitCode print_status(Invocation& in);
ExitCode verify_folder(Invocation& in);
ExitCode print_report(Invocation& in);
ExitCode compare_folders(Invocation& in);
ExitCode join_folders(Invocation& in);
ExitCode write_sbatch(Invocation& in);
ExitCode export_model(Invocation& in);
ExitCode print_list(Invocation& in);
ExitCode print_description(Invocation& in);
ExitCode write_docs(Invocation& in);
ExitCode manage_zoos(Invocation& in);
ExitCode merge_checkpoints(Invocation& in);
ExitCode manage_adapters(Invocation& in);
ExitCode make_synthetic(Invocation& in);

}  // namespace fusegrid
