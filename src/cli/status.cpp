// fusegrid status: counts what a results folder holds. Reads only, so it may look at a run that is going on.

#include <algorithm>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "core/text.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

// The run that may be going on: the newest, unless it names no number of cells.
void print_runs(std::ostream& out, const std::vector<RunInfo>& runs, size_t recorded) {
  if (runs.empty()) {
    return;
  }
  const auto& newest = runs.back().provenance;
  out << count_text(static_cast<int64_t>(runs.size()), "run") << ", newest started "
      << newest.value("started", "at an unknown time") << " on " << newest.value("ranks", 1) << " rank(s)";
  if (newest.contains("cells")) {
    out << " with a job of " << count_text(newest["cells"].get<int64_t>(), "cell");
    // with several plans in one folder the difference says nothing
    const bool one_plan = std::all_of(runs.begin(), runs.end(), [&](const RunInfo& run) {
      return run.plan_sha256 == runs.back().plan_sha256;
    });
    if (one_plan) {
      out << ", " << newest["cells"].get<int64_t>() - static_cast<int64_t>(recorded) << " left";
    }
  }
  out << "\n";
}

void print_failure(std::ostream& out, const std::string& name, const Result& result,
                   const std::string& again) {
  out << "\n"
      << to_string(result.status) << ": " << name << "\n  " << result.reason << " (after "
      << count_text(result.attempts, "attempt") << ", on " << result.worker << ")\n";
  if (!again.empty()) {
    out << "  again: " << again << "\n";
  }
  if (!result.log_tail.empty()) {
    for (const auto& line : split(trim(result.log_tail), '\n')) {
      out << "  | " << line << "\n";
    }
  }
}

}  // namespace

ExitCode print_status(Invocation& in) {
  Options options("status",
                  "Counts the valid, invalid and failed results of a folder and shows the failures with the "
                  "command that runs each again. Only reads, also while a run is going on.",
                  {"fusegrid status results/quickstart"});
  options.argument("RESULTS", "the results folder");
  options.add()("quiet,q", "only the counts");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::filesystem::path folder = options.argument("RESULTS");
  const auto store = ResultStore::read(folder);
  std::map<Status, int64_t> counts;
  for (const auto& [name, result] : store->results()) {
    ++counts[result.status];
  }
  in.out << folder.string() << ": " << counts[Status::kValid] << " valid, " << counts[Status::kInvalid]
         << " invalid, " << counts[Status::kFailed] << " failed\n";
  if (options.has("quiet")) {
    return ExitCode::kOk;
  }
  print_runs(in.out, store->runs(), store->results().size());
  const std::string job =
      store->runs().empty() ? "" : store->runs().back().provenance.value("job", std::string());
  for (const auto& [name, result] : store->results()) {
    if (result.status != Status::kValid) {
      print_failure(in.out, name, result, job.empty() ? "" : rerun_line(job, folder, name));
    }
  }
  return ExitCode::kOk;
}

}  // namespace fusegrid
