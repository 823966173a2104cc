// fusegrid report: the leaderboard of a results folder.

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/results_folder.h"
#include "report/leaderboard.h"

namespace fusegrid {

ExitCode print_report(Invocation& in) {
  Options options(
      "report",
      "Prints the leaderboard of a results folder and writes it there as leaderboard.md, .csv and .tex, with "
      "all settings tried in settings.csv. Seconds, which differ from run to run, go to timings.md and .csv. "
      "docs/metrics.md defines the columns.",
      {"fusegrid report results/quickstart", "fusegrid report /archive/quickstart --out tables"});
  options.argument("RESULTS", "the results folder");
  options.add()("out", boost::program_options::value<std::string>()->value_name("DIR"),
                "write the files into this folder (default: RESULTS); RESULTS is then only read");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const auto results = existing_results(options);
  write_report(results, options.get_or<std::string>("out", results.string()), in.out);
  return ExitCode::kOk;
}

}  // namespace fusegrid
