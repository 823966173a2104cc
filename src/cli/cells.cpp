// fusegrid cells: prints the names of a job's cells.

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan.h"

namespace fusegrid {

ExitCode print_cells(Invocation& in) {
  Options options(
      "cells", "Prints the canonical name of every cell of a job, one a line, sorted.",
      {"fusegrid cells jobs/quickstart.cfg", "fusegrid cells jobs/quickstart.cfg --only '/ties'"});
  options.argument("JOB", "the job file");
  options.add()("only", boost::program_options::value<std::string>()->value_name("REGEX"),
                "only cells whose name the expression finds");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const Plan plan = make_plan(options.argument("JOB"));
  for (const auto& cell : selected_cells(plan, options)) {
    in.out << cell.name() << "\n";
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
