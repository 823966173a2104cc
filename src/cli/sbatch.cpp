// fusegrid sbatch: a Slurm script that runs a job, stops it in time and queues it again until it is done.

#include <algorithm>
#include <cctype>

#include <boost/program_options/value_semantic.hpp>

#include "cli/as_called.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan.h"
#include "cli/print.h"
#include "core/errors.h"
#include "core/text.h"

namespace fusegrid {
namespace {

namespace po = boost::program_options;

constexpr int64_t kMostNodes = 100'000;
constexpr int64_t kMostWorkers = 1024;  // of a node
constexpr int64_t kLongestNotice = 86'400;

Options sbatch_options() {
  Options options(
      "sbatch",
      "Checks a job and prints a Slurm script for it: one worker for each GPU and one rank that "
      "coordinates, a signal before the time limit, at which the run stops in order, and a requeue that "
      "continues it. Lines of the site's own (modules, containers) go above mpirun.",
      {"fusegrid sbatch jobs/quickstart.cfg --nodes 2 --gpus-per-node 8 --time 4:00:00 > job.sbatch",
       "fusegrid sbatch jobs/quickstart.cfg --workers-per-node 16 --partition cpu > job.sbatch"});
  options.argument("JOB", "the job file");
  options.add()("nodes", po::value<int>()->value_name("N"), "nodes (default: 1)")(
      "gpus-per-node", po::value<int>()->value_name("N"),
      "GPUs of a node, each of which gets a worker (default: 1)")(
      "workers-per-node", po::value<int>()->value_name("N"), "instead: workers of a node on CPUs")(
      "time", po::value<std::string>()->value_name("LIMIT"),
      "time limit as Slurm reads it (default: 4:00:00)")(
      "notice", po::value<int>()->value_name("SECONDS"),
      "how long before the limit the run is told to stop (default: 300)")(
      "partition", po::value<std::string>()->value_name("NAME"), "partition")(
      "account", po::value<std::string>()->value_name("NAME"), "account")(
      "results", po::value<std::string>()->value_name("DIR"),
      "results folder (default: results/<name of the job file>)");
  return options;
}

// A word that stands unquoted in a line of #SBATCH. UsageError.
std::string slurm_word(const Options& options, const std::string& name, const std::string& fallback) {
  const auto word = options.get_or<std::string>(name, fallback);
  constexpr const char* kFine = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:,@+-";
  if (word.find_first_not_of(kFine) != std::string::npos) {
    throw UsageError("--" + name + " must be one word of letters, digits and _.:,@+-, but it is '" + word +
                     "'");
  }
  return word;
}

// A job's name in Slurm's lists: what is no such character becomes '_'.
std::string slurm_safe(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.'; }, '_');
  return text;
}

std::string directive(const std::string& name, const std::string& value) {
  return value.empty() ? "" : "#SBATCH --" + name + "=" + value + "\n";
}

}  // namespace

ExitCode write_sbatch(Invocation& in) {
  Options options = sbatch_options();
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const bool on_cpus = options.has("workers-per-node");
  if (on_cpus && options.has("gpus-per-node")) {
    throw UsageError(
        "workers are either one for each GPU (--gpus-per-node) or on CPUs (--workers-per-node), but "
        "both are given");
  }
  const int nodes = whole_number(options, "nodes", kMostNodes, 1);
  const int workers = whole_number(options, on_cpus ? "workers-per-node" : "gpus-per-node", kMostWorkers, 1);
  const int notice = whole_number(options, "notice", kLongestNotice, 300);
  const std::filesystem::path file = options.argument("JOB");
  const Plan plan = make_plan(file);
  check_workers(plan.job, nodes * workers);
  const auto results = options.get_or<std::string>("results", default_results(file).string());
  const std::string ranks_of_node = std::to_string(workers + 1);
  in.out << "#!/bin/bash\n"
         << "# " << plan.cells.size() << " cells of " << file.filename().string() << " on " << nodes * workers
         << (on_cpus ? " workers" : " GPUs") << ", one rank more for the coordinator.\n"
         << directive("job-name", "fusegrid-" + slurm_safe(file.stem().string()))
         << directive("nodes", std::to_string(nodes)) << directive("ntasks-per-node", ranks_of_node)
         << (on_cpus ? "" : directive("gpus-per-node", std::to_string(workers)))
         << directive("time", slurm_word(options, "time", "4:00:00"))
         << directive("partition", slurm_word(options, "partition", ""))
         << directive("account", slurm_word(options, "account", ""))
         << directive("signal", "B:USR1@" + std::to_string(notice)) << "#SBATCH --requeue\n"
         << directive("open-mode", "append") << "\n"
         << "mpirun -n " << nodes * workers + 1 << " --map-by ppr:" << ranks_of_node
         << ":node --bind-to numa " << as_called("fusegrid run ") << shell_quoted(file.string())
         << " --results " << shell_quoted(results) << (on_cpus ? " --device cpu" : " --device cuda") << " &\n"
         << R"(launcher=$!
trap 'kill -USR1 $launcher' USR1     # mpirun forwards it to the ranks and goes on
wait $launcher; status=$?
if [ $status -gt 128 ]; then         # the trapped signal ended `wait`, not the run
  wait $launcher; status=$?
fi
if [ $status -eq 75 ]; then          # stopped in time: the same command continues
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
)";
  return ExitCode::kOk;
}

}  // namespace fusegrid
