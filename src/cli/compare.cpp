// fusegrid compare: which numbers of two results folders differ beyond noise.

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/results_folder.h"
#include "core/files.h"
#include "report/changes.h"
#include "report/leaderboard.h"

namespace fusegrid {

ExitCode compare_folders(Invocation& in) {
  Options options(
      "compare",
      "Compares the cells that two results folders share, of two runs, two versions or two machines: "
      "which are equal, differ within the noise of the test examples, or changed beyond it "
      "(docs/metrics.md). Exit code 4 where a number changed beyond noise or a cell is no longer valid.",
      {"fusegrid compare results/before results/after",
       "fusegrid compare results/reference results/mine --csv changes.csv"});
  options.argument("A", "a results folder").argument("B", "the one that is compared with it");
  options.add()("csv", boost::program_options::value<std::string>()->value_name("FILE"),
                "write every number that both have, its p and verdict");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const Changes changes = compare_results(grid_records(existing_results(options, "A")),
                                          grid_records(existing_results(options, "B")));
  if (options.has("csv")) {
    write_atomically(options.get<std::string>("csv"), csv_changes(changes));
  }
  in.out << changes_text(changes);
  return changes.differ() ? ExitCode::kDiffers : ExitCode::kOk;
}

}  // namespace fusegrid
