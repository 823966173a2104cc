// fusegrid report: the leaderboard of a results folder.

#include "cli/commands.h"
#include "cli/options.h"
#include "report/leaderboard.h"

namespace fusegrid {

ExitCode print_report(Invocation& in) {
  Options options(
      "report",
      "Prints the leaderboard of a results folder and writes it there as leaderboard.md, .csv and .tex, with "
      "all settings tried in settings.csv. Seconds, which differ from run to run, go to timings.md and .csv. "
      "docs/metrics.md defines the columns.",
      {"fusegrid report results/quickstart"});
  options.argument("RESULTS", "the results folder");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  write_report(options.argument("RESULTS"), options.argument("RESULTS"), in.out);
  return ExitCode::kOk;
}

}  // namespace fusegrid
