// fusegrid report: the leaderboard of results folders.

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/report_files.h"
#include "cli/results_folder.h"
#include "report/leaderboard.h"

namespace fusegrid {

namespace fs = std::filesystem;

ExitCode print_report(Invocation& in) {
  Options options("report",
                  "Prints the leaderboard of results folders and writes it as leaderboard.md, .csv and .tex, "
                  "with all settings "
                  "tried in settings.csv, all cells in cells.csv and everything with plots in report.html, a "
                  "page that needs "
                  "nothing but itself. Seconds, which differ from run to run, go to costs.md and .csv. "
                  "docs/metrics.md defines the columns.",
                  {"fusegrid report results/quickstart", "fusegrid report /archive/quickstart --out tables",
                   "fusegrid report results/small results/large --out tables",
                   "fusegrid report results/clip_b32_8 --published"});
  options.arguments("RESULTS", "the results folders, each with its boards");
  options.add()(
      "out", boost::program_options::value<std::string>()->value_name("DIR"),
      "write the files into this folder (default: RESULTS, where it is one); RESULTS are then only read")(
      "published",
      "instead, compare the rows with the published ones that the job names: published.md, .csv and .tex; "
      "exit code 4 "
      "where a number is outside its tolerance (docs/published.md)");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::vector<fs::path> results = existing_results_of(options.arguments("RESULTS"));
  if (results.size() > 1 && (!options.has("out") || options.has("published"))) {
    throw UsageError(options.has("published")
                         ? "--published takes one results folder, more were given"
                         : "of several results folders, --out must name the folder of the report");
  }
  const auto out = options.get_or<std::string>("out", results[0].string());
  if (options.has("published")) {
    return write_published_report(results[0], out, in.out);
  }
  report_results(results, out, in);
  return ExitCode::kOk;
}

}  // namespace fusegrid
