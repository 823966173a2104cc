// fusegrid status: counts what a results folder holds. Reads only, so it may look at a run that is going on.

#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include <boost/program_options/value_semantic.hpp>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "cli/results_folder.h"
#include "core/count_text.h"
#include "core/text.h"
#include "fusion/whole_model/statistics_cache.h"
#include "store/result_store.h"

namespace fusegrid {
namespace {

constexpr int kWatchSeconds = 5;
constexpr int kMostWatchSeconds = 86'400;

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

void print_counts(std::ostream& out, const std::filesystem::path& folder, const Records& records) {
  std::map<Status, int64_t> counts;
  for (const auto& [name, result] : records.results) {
    ++counts[result.status];
  }
  out << folder.string() << ": " << counts[Status::kValid] << " valid, " << counts[Status::kInvalid]
      << " invalid, " << counts[Status::kFailed] << " failed\n";
}

// Prints the counts every few seconds, on a terminal in the same place, until no planned cell is left.
void watch(std::ostream& out, const std::filesystem::path& folder, int seconds) {
  const auto begin = std::chrono::steady_clock::now();
  std::optional<size_t> at_begin;
  for (;;) {
    const auto store = ResultStore::read(folder);
    const Records& records = store->records();
    if (::isatty(STDOUT_FILENO) != 0) {
      out << "\033[H\033[2J";
    }
    print_counts(out, folder, records);
    print_runs(out, records);
    const size_t left = records.missing().size();
    const size_t done = records.results.size();
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (at_begin && done > *at_begin && left > 0) {
      const double rate = static_cast<double>(done - *at_begin) / elapsed;
      out << "about " << duration_text(static_cast<double>(left) / rate) << " left at the pace since "
          << duration_text(elapsed) << "\n";
    }
    at_begin = at_begin.value_or(done);
    out.flush();
    if (left == 0) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
  }
}

}  // namespace

ExitCode print_status(Invocation& in) {
  Options options("status",
                  "Counts the valid, invalid and failed results of a folder and shows the failures with the "
                  "command that runs each again. Only reads, also while a run is going on.",
                  {"fusegrid status results/quickstart", "fusegrid status results/quickstart --watch"});
  options.argument("RESULTS", "the results folder");
  options.add()("quiet,q", "only the counts")(
      "watch", boost::program_options::value<int>()->implicit_value(kWatchSeconds)->value_name("SECONDS"),
      "the counts again every so many seconds (5), until no cell is left");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const std::filesystem::path folder = existing_results(options);
  if (options.has("watch")) {
    watch(in.out, folder, whole_number(options, "watch", kMostWatchSeconds, kWatchSeconds));
    return ExitCode::kOk;
  }
  const auto store = ResultStore::read(folder);
  print_counts(in.out, folder, store->records());
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
