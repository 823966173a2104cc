// fusegrid status: counts what a results folder holds. Reads only, so it may look at a run that is going on.

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "cli/results_folder.h"
#include "core/text.h"
#include "fusion/whole_model/statistics_cache.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

// The launches, and how far the folder is from what its jobs ask for.
void print_runs(std::ostream& out, const Records& records) {
  const auto& runs = records.runs;
  if (runs.empty()) {
    return;
  }
  const auto& newest = runs.back().provenance;
  out << count_text(static_cast<int64_t>(runs.size()), "run") << ", newest started "
      << newest.value("started", "at an unknown time") << " on " << newest.value("ranks", 1) << " rank(s)";
  out << "\n";
  if (const auto planned = static_cast<int64_t>(records.planned().size()); planned > 0) {
    const auto missing = static_cast<int64_t>(records.missing().size());
    out << planned - missing << " of " << count_text(planned, "cell") << " of "
        << count_text(static_cast<int64_t>(records.plans.size()), "job") << " recorded, " << missing
        << " left\n";
  }
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
  const std::filesystem::path folder = existing_results(options);
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
  print_runs(in.out, store->records());
  if (const int64_t bytes = bytes_of_saved_statistics(folder / "statistics"); bytes > 0) {
    in.out << "statistics cache: " << bytes_text(bytes)
           << "; it saves time alone and may be removed while no run goes on\n";
  }
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
