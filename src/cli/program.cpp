#include "cli/program.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "cli/as_called.h"
#include "cli/build_facts.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/provenance.h"
#include "coordinator/campaign.h"
#include "core/alternatives.h"
#include "core/text.h"
#include "store/guarded_reader.h"
#include "worker/item_runner.h"
#include "worker/supervisor.h"

namespace fusegrid {
namespace {

constexpr int kExecutorSocket = 3;  // the supervisor opens it before it starts `fusegrid executor`

ExitCode run_executor(Invocation&) {
  return static_cast<ExitCode>(executor_main(kExecutorSocket));
}

void print_help(std::ostream& out) {
  out << "fusegrid " << build_facts().version << ": benchmarks of deep model fusion\n\n"
      << as_called(
             "Usage: fusegrid COMMAND [options]\n"
             "       mpirun -n RANKS fusegrid run JOB     (rank 0 coordinates, the others work)\n"
             "       mpirun -n RANKS fusegrid merge ...   (all ranks merge together)\n\n")
      << "Commands:\n";
  TextTable table({"", ""});
  for (const auto& command : commands()) {
    if (!command.hidden) {
      table.add({"  " + command.name, command.summary});
    }
  }
  out << table.text(false) << "\n"
      << as_called("fusegrid COMMAND --help tells more of one; ")
      << as_called("fusegrid --version names revision and libraries.\n\n") << "Exit codes:\n"
      << "   0  done\n"
      << "   1  the command line cannot be read\n"
      << "   2  a job file, a zoo or a method's parameters are wrong; nothing was started\n"
      << "   3  the run is complete, but some cells failed or are invalid\n"
      << "   4  results differ from published ones by more than their tolerance, or from others beyond "
         "noise\n"
      << "  65  a checkpoint, task pack, journal or results file is damaged\n"
      << "  69  no usable GPU\n"
      << "  74  reading or writing failed (disk full, permission, folder in use by another run)\n"
      << "  75  stopped early on request; the same command continues\n";
}

ExitCode run_subcommand(const std::vector<std::string>& argv, std::ostream& out, std::ostream& err,
                        Transport* transport) {
  const std::string name = argv.size() > 1 ? argv[1] : "";
  if (name.empty()) {
    print_help(err);
    return ExitCode::kUsage;
  }
  if (name == "help" && argv.size() > 2) {  // "help run" is "run --help"
    return run_subcommand({argv[0], argv[2], "--help"}, out, err, transport);
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_help(out);
    return ExitCode::kOk;
  }
  if (name == "--version") {
    out << version_text();
    return ExitCode::kOk;
  }
  std::vector<std::string> known;
  for (const auto& command : commands()) {
    if (command.name == name) {
      Invocation in{.args = {argv.begin() + 2, argv.end()},
                    .argv = argv,
                    .out = out,
                    .err = err,
                    .transport = transport};
      return command.run(in);
    }
    if (!command.hidden) {
      known.push_back(command.name);
    }
  }
  throw UsageError("there is no command '" + name + "'" + alternatives(name, known));
}

// The first of these environment variables that is a whole number.
std::optional<int64_t> number_in_environment(const std::vector<const char*>& variables) {
  for (const char* variable : variables) {
    if (const char* value = std::getenv(variable)) {
      char* end = nullptr;
      const int64_t number = std::strtoll(value, &end, 10);
      if (end != value && *end == '\0') {
        return number;
      }
    }
  }
  return std::nullopt;
}

// This rank's number as the launcher says: known without starting MPI.
int64_t launcher_rank() {
  return number_in_environment({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}).value_or(0);
}

// Processes that the launcher has started. SLURM_STEP_NUM_TASKS is of srun; SLURM_NTASKS stands in batch scripts as
// well.
std::optional<int64_t> launcher_size() {
  return number_in_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"});
}

// Several processes that MPI does not connect would each run the whole job, in one folder. False where they are that;
// one of them tells.
bool launcher_fits(const Transport& transport) {
  const int64_t started = launcher_size().value_or(launcher_rank() + 1);
  if (transport.size() > 1 || started <= 1) {
    return true;
  }
  if (launcher_rank() == 0 || !launcher_size()) {
    std::cerr << "fusegrid: error: the launcher must belong to the MPI of this program (" << build_facts().mpi
              << "), but it started " << started << (launcher_size() ? "" : " or more")
              << " processes and MPI sees one; use that MPI's mpirun, or under Slurm 'srun --mpi=pmix'\n";
  }
  return false;
}

std::unique_ptr<Transport> open_transport(int argc, char** argv) {
  return launched_by_mpi() ? mpi_transport(&argc, &argv) : std::move(in_process_transports(1).front());
}

// The end of what was printed. A command whose output is lost (a full disk) has not succeeded.
ExitCode flushed(ExitCode code) {
  if (std::cout.flush() || code != ExitCode::kOk) {
    return code;
  }
  std::cerr << "fusegrid: error: the output must be written, but the standard output takes no more: "
               "is it closed, or its disk full?\n";
  return ExitCode::kIo;
}

int coordinate_or_work(int argc, char** argv, const std::vector<std::string>& words) {
  const auto transport = open_transport(argc, argv);
  if (transport->rank() > 0) {
    run_worker(*transport);
    return 0;
  }
  if (!launcher_fits(*transport)) {
    return static_cast<int>(ExitCode::kUsage);
  }
  const ExitCode code = flushed(run_command_line(words, std::cout, std::cerr, transport.get()));
  stop_workers(*transport);
  return static_cast<int>(code);
}

int run_in_group(int argc, char** argv, const std::vector<std::string>& words) {
  const auto transport = open_transport(argc, argv);
  if (!launcher_fits(*transport)) {
    return static_cast<int>(ExitCode::kUsage);
  }
  std::ostream silent(nullptr);
  const bool speaks = transport->rank() == 0;
  const ExitCode code =
      run_command_line(words, speaks ? std::cout : silent, speaks ? std::cerr : silent, transport.get());
  return static_cast<int>(speaks ? flushed(code) : code);
}

// A closed stream's number would be given to the next file that is opened, and what is printed would be written into
// that file: a journal. Standard output is opened such that writing fails, and is told.
void open_closed_streams() {
  for (const auto& [number, mode] : {std::pair{0, O_RDONLY}, {1, O_RDONLY}, {2, O_WRONLY}}) {
    if (::fcntl(number, F_GETFD) < 0) {
      static_cast<void>(::open("/dev/null", mode));  // takes the lowest number that is free
    }
  }
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> commands = {
      {"run", "run the cells of a job file that have no results yet", run_job},
      {"cells", "print the names of a job's cells", print_cells},
      {"status", "count what a results folder holds; show failures", print_status},
      {"report", "write and print the leaderboard of a results folder", print_report},
      {"compare", "tell which numbers of two results folders differ beyond noise", compare_folders},
      {"join", "make one results folder of two", join_folders},
      {"sbatch", "print a Slurm script for a job", write_sbatch},
      {"verify", "check journal and published results against each other", verify_folder},
      {"export", "write the model of a recorded cell as a HuggingFace folder", export_model},
      {"list", "list methods, tasks, zoos, shifts or jobs", print_list},
      {"describe", "describe a method, task, zoo or shift", print_description},
      {"zoo", "build, pretrain, import, show and verify zoos of models", manage_zoos},
      {"merge", "merge checkpoint folders of any size, alone or on all ranks", merge_checkpoints},
      {"adapter", "extract PEFT adapters from models, merge adapters as adapters", manage_adapters},
      {"synth", "write synthetic checkpoints: a base and its experts or adapters", make_synthetic},
      {"docs", "write docs/methods.md, mergekit.md and tasks.md", write_docs},
      {"executor", "the process of a worker that runs cells", run_executor, true},
  };
  return commands;
}

bool engages_workers(const std::vector<std::string>& args) {
  if (args.empty()) {
    return false;
  }
  return args[0] == "run" ||
         (args[0] == "zoo" && args.size() > 1 && (args[1] == "build" || args[1] == "pretrain"));
}

bool is_done_by_group(const std::vector<std::string>& args) {
  return !args.empty() && args[0] == "merge";
}

ExitCode run_command_line(const std::vector<std::string>& argv, std::ostream& out, std::ostream& err,
                          Transport* transport) {
  try {
    return run_subcommand(argv, out, err, transport);
  } catch (const Error& error) {
    err << "fusegrid: error: " << as_called(error.what()) << "\n";
    return error.code();
  } catch (const std::filesystem::filesystem_error& error) {
    // "filesystem error: cannot create directories: Not a directory [a/b]"
    const std::string what = error.what();
    const std::string prefix = "filesystem error: ";
    err << "fusegrid: error: " << what.substr(what.starts_with(prefix) ? prefix.size() : 0)
        << "; check the path, its permissions and the free space\n";
    return ExitCode::kIo;
  } catch (const std::exception& error) {
    err << "fusegrid: error: unexpected: " << error.what() << "\n";
    return ExitCode::kIo;
  }
}

int program(int argc, char** argv) {
  if (const auto status = serve_guarded_reader(argc, argv)) {
    return *status;
  }
  open_closed_streams();
  remember_call(argc > 0 ? argv[0] : "fusegrid");
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error of the write, told like a full disk
  const std::vector<std::string> words(argv, argv + argc);
  if (engages_workers({words.begin() + 1, words.end()})) {
    return coordinate_or_work(argc, argv, words);
  }
  if (is_done_by_group({words.begin() + 1, words.end()})) {
    return run_in_group(argc, argv, words);
  }
  const bool executor = words.size() > 1 && words[1] == "executor";
  if (!executor && launched_by_mpi() && launcher_rank() > 0) {
    return 0;  // rank 0 does it alone
  }
  return static_cast<int>(flushed(run_command_line(words, std::cout, std::cerr, nullptr)));
}

}  // namespace fusegrid
