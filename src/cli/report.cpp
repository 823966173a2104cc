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
      {"fusegrid report results/quickstart", "fusegrid report /archive/quickstart --out tables",
       "fusegrid report results/clip_b32_8 --published"});
  options.argument("RESULTS", "the results folder");
  options.add()("out", boost::program_options::value<std::string>()->value_name("DIR"),
                "write the files into this folder (default: RESULTS); RESULTS is then only read")(
      "published",
      "instead, compare the rows with the published ones that the job names: published.md, .csv and .tex; "
      "exit code 4 "
      "where a number is outside its tolerance (docs/published.md)");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const auto results = existing_results(options);
  const auto out = options.get_or<std::string>("out", results.string());
  if (options.has("published")) {
    return write_published_report(results, out, in.out);
  }
  write_report(results, out, in.out);
  return ExitCode::kOk;
}

}  // namespace fusegrid
