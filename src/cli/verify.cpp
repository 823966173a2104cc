// fusegrid verify: checks the journal and the published view of a results folder against each other.

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/results_folder.h"
#include "store/result_store.h"

namespace fusegrid {

ExitCode verify_folder(Invocation& in) {
  Options options(
      "verify",
      "Checks the journal and the published results.h5 of a folder against each other and prints the "
      "SHA-256 of /metrics, which is equal for every number of ranks and every history of failures. "
      "Exit code 65 where something is damaged.",
      {"fusegrid verify results/quickstart"});
  options.argument("RESULTS", "the results folder");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  for (const auto& line : verify_results(existing_results(options))) {
    in.out << line << "\n";
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
