#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/frame_socket.h"
#include "worker/log_capture.h"

namespace fusegrid {

struct ChildOptions {
  std::string executable = "/proc/self/exe";  // still right where the file was replaced meanwhile
  std::vector<std::string> arguments = {"executor"};
  int threads = 1;
  std::string visible_gpus;        // CUDA_VISIBLE_DEVICES of the child; "": none
  int64_t memory_limit_bytes = 0;  // of its address space; 0: none
  bool core_dumps = false;
  // It leads a session of its own, which all that it starts belongs to and ends with; else only a group of processes.
  bool leads_session = true;
};

// The executor's process. Holds no descriptor of its parent (results lock, MPI sockets), nothing in its
// environment lets it join the MPI job, it dies with its parent, is the kernel's first choice when memory
// runs out, and sits in a process group of its own: signals that mpirun or a terminal sends are the
// coordinator's to answer. Its socket is descriptor 3. Whatever it has started ends with it.
class ChildProcess {
 public:
  // Starts it. Throws IoError where the system gives no process, socket or pipe.
  ChildProcess(const ChildOptions& options, LogCapture& log);
  ~ChildProcess();  // kills it
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int pid() const { return pid_; }
  FrameSocket& socket() { return *socket_; }
  // Whether it has ended by itself. Does not wait.
  bool has_ended() const;
  // Ends it by SIGKILL unless it ends by itself within `patience_ms`; returns the status as waitpid() does.
  int reap(int patience_ms);

 private:
  void end_all() const;

  int pid_ = -1;
  bool leads_session_;
  std::optional<int> status_;
  std::optional<FrameSocket> socket_;
};

// The environment of executors: `environment` without what belongs to MPI launchers, with thread counts and
// visible GPUs set.
std::vector<std::string> executor_environment(const std::vector<std::string>& environment,
                                              const ChildOptions& options);

}  // namespace fusegrid
