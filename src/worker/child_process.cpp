#include "worker/child_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

constexpr int kSocketInChild = 3;
constexpr int kFirstFreeInChild = 10;  // scratch numbers above 0..3

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) {
    all.push_back(text.data());
  }
  all.push_back(nullptr);
  return all;
}

// Everything the child needs, made before the fork: between fork and exec only async-signal-safe calls are
// allowed, since other threads of the parent may hold any lock.
struct Launch {
  const ChildOptions& options;
  char* const* arguments;
  char* const* environment;
  int socket;
  int output;
  int parent;
};

void limit_child(const ChildOptions& options) {
  const rlimit none{0, 0};
  if (!options.core_dumps) {
    setrlimit(RLIMIT_CORE, &none);
  }
  if (options.memory_limit_bytes > 0) {
    const auto bytes = static_cast<rlim_t>(options.memory_limit_bytes);
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_AS, &limit);
  }
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file >= 0) {
    static_cast<void>(!write(file, "500", 3));  // only a preference: the kernel may refuse
    close(file);
  }
}

[[noreturn]] void run_child(const Launch& launch) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launch.parent) {
    _exit(127);  // the parent died before prctl() was in force
  }
  if (launch.options.leads_session) {
    setsid();
  } else {
    setpgid(0, 0);
  }
  sigset_t no_signals;
  sigemptyset(&no_signals);
  sigprocmask(SIG_SETMASK, &no_signals, nullptr);
  // Out of the way first: either may be one of the numbers that the other is to get.
  const int output = fcntl(launch.output, F_DUPFD, kFirstFreeInChild);
  const int socket = fcntl(launch.socket, F_DUPFD, kFirstFreeInChild);
  const int input = open("/dev/null", O_RDONLY);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  dup2(socket, kSocketInChild);
  if (syscall(SYS_close_range, kSocketInChild + 1, UINT_MAX, 0) != 0) {
    const long most = sysconf(_SC_OPEN_MAX);  // kernels before 5.9
    for (int fd = kSocketInChild + 1; fd < most; ++fd) {
      close(fd);
    }
  }
  limit_child(launch.options);
  execve(launch.options.executable.c_str(), launch.arguments, launch.environment);
  const char* reason = "fusegrid: the program of the process cannot be started\n";
  static_cast<void>(!write(STDERR_FILENO, reason, std::strlen(reason)));
  _exit(127);
}

// Of a living process; 0 where there is none of that number.
int session_of(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');  // a name may have anything in it
  if (name_end == std::string::npos) {
    return 0;
  }
  std::istringstream fields(text.substr(name_end + 1));
  char state = 0;
  int parent = 0;
  int group = 0;
  int session = 0;
  fields >> state >> parent >> group >> session;
  return state == 'Z' || state == 'X' ? 0 : session;
}

// Kills what belongs to the session, until nothing does: what is being killed may just have started more.
void end_session(int session) {
  constexpr int kMostRounds = 100;
  bool found = true;
  for (int round = 0; found && round < kMostRounds; ++round) {
    found = false;
    std::error_code gone;
    const std::filesystem::directory_iterator end;
    for (std::filesystem::directory_iterator it("/proc", gone); !gone && it != end; it.increment(gone)) {
      const int process = std::atoi(it->path().filename().c_str());  // 0 of what is no process
      if (process > 0 && session_of(it->path()) == session) {
        found = true;
        kill(process, SIGKILL);
      }
    }
    if (found) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

std::vector<std::string> own_environment() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    all.emplace_back(*entry);
  }
  return all;
}

}  // namespace

std::vector<std::string> executor_environment(const std::vector<std::string>& environment,
                                              const ChildOptions& options) {
  const std::string threads = std::to_string(options.threads);
  std::vector<std::string> kept = {"OMP_NUM_THREADS=" + threads,
                                   "MKL_NUM_THREADS=" + threads,
                                   "OPENBLAS_NUM_THREADS=" + threads,
                                   "OMP_WAIT_POLICY=passive",  // idle threads must not burn the cores of
                                   "GOMP_SPINCOUNT=0",         // the other executors
                                   "CUDA_VISIBLE_DEVICES=" + options.visible_gpus};
  const std::vector<std::string> dropped = {"OMPI_", "PMIX_", "PRTE", "SLURM_", "PMI_", "ORTE_", "HYDRA_"};
  const size_t set = kept.size();
  for (const std::string& entry : environment) {
    const auto begins = [&](const std::string& prefix) { return entry.starts_with(prefix); };
    const auto sets_same = [&](const std::string& other) {
      return entry.starts_with(other.substr(0, other.find('=') + 1));
    };
    if (std::none_of(dropped.begin(), dropped.end(), begins) &&
        std::none_of(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(set), sets_same)) {
      kept.push_back(entry);
    }
  }
  const auto orders = [](const std::string& entry) { return entry.starts_with("CUDA_DEVICE_ORDER="); };
  if (std::none_of(kept.begin(), kept.end(), orders)) {
    kept.emplace_back(
        "CUDA_DEVICE_ORDER=PCI_BUS_ID");  // the order in which the kernel lists them (device.cpp)
  }
  return kept;
}

ChildProcess::ChildProcess(const ChildOptions& options, LogCapture& log)
    : leads_session_(options.leads_session) {
  std::vector<std::string> arguments = {options.executable};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  std::vector<std::string> environment = executor_environment(own_environment(), options);
  const auto argument_pointers = pointers(arguments);
  const auto environment_pointers = pointers(environment);
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw IoError(std::string("cannot make a socket for the executor: ") + std::strerror(errno));
  }
  socket_.emplace(ends[0]);
  const int output = log.open_pipe();
  const Launch launch{options, argument_pointers.data(), environment_pointers.data(), ends[1], output,
                      getpid()};
  pid_ = fork();
  if (pid_ == 0) {
    run_child(launch);
  }
  const int error = errno;
  close(output);
  close(ends[1]);
  if (pid_ < 0) {
    throw IoError(std::string("cannot start the executor's process: ") + std::strerror(error));
  }
}

ChildProcess::~ChildProcess() {
  reap(0);
}

bool ChildProcess::has_ended() const {
  siginfo_t info{};
  return status_ || (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                     info.si_pid == pid_);
}

void ChildProcess::end_all() const {
  kill(-pid_, SIGKILL);  // its group
  kill(pid_, SIGKILL);   // it may not have made its group yet
  if (leads_session_) {
    end_session(pid_);  // the groups that it has started
  }
}

// While it is not waited for, its number belongs to nobody else.
int ChildProcess::reap(int patience_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (!has_ended() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (!status_) {
    end_all();
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    status_ = status;
  }
  return *status_;
}

}  // namespace fusegrid
