// fusegrid join: one results folder of several.

#include "store/join.h"

#include <boost/program_options/value_semantic.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/results_folder.h"
#include "core/count_text.h"
#include "store/result_store.h"

namespace fusegrid {

ExitCode join_folders(Invocation& in) {
  Options options(
      "join",
      "Makes one results folder of several whose results rest on the same models and data, for example of "
      "two clusters that ran parts of one job. They are only read. Refused where they rest on other "
      "inputs, or have other numbers for a cell that two of them have.",
      {"fusegrid join results/cluster-a results/cluster-b --results results/board"});
  options.arguments("RESULTS", "the results folders, two or more");
  options.add()("results", boost::program_options::value<std::string>()->value_name("DIR")->required(),
                "the new results folder");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::filesystem::path target = options.get<std::string>("results");
  join_results(existing_results_of(options.arguments("RESULTS")), target);
  const auto store = ResultStore::read(target);
  in.out << target.string() << ": " << count_text(static_cast<int64_t>(store->results().size()), "result")
         << " of " << count_text(static_cast<int64_t>(store->runs().size()), "run") << "\n";
  return ExitCode::kOk;
}

}  // namespace fusegrid
