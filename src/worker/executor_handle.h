#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "worker/child_process.h"
#include "worker/item_runner.h"

namespace fusegrid {

// A supervisor's hold on its executor: runs one item at a time, never blocks.
class ExecutorHandle {
 public:
  virtual ~ExecutorHandle() = default;
  // Starts what runs items and opens its device, ahead of the first item: whoever has no use of it must learn that
  // before work begins.
  virtual void open() = 0;
  virtual void start(const std::string& item) = 0;
  // Waits at most `timeout` for the end of the running item, or of open(), whose result has no name.
  virtual std::optional<Outcome> wait(std::chrono::microseconds timeout) = 0;
};

struct HandleOptions {
  ExecutorStart start;
  std::chrono::milliseconds stall_timeout{120'000};
  ChildOptions child;
  std::filesystem::path log_file;  // may be empty
};

// The executor as a child process, started by open() or the first item and again after it died. It is killed when it
// makes no progress for stall_timeout or speaks nonsense, and renewed after it ran out of memory or failed on
// a GPU (whose context may be broken for good). Destruction ends it: by closing its socket where it is idle,
// by SIGKILL where it is busy.
std::unique_ptr<ExecutorHandle> child_executor(HandleOptions options);

// The executor in a thread of this process: for debuggers, sanitizers and profilers. It can neither be killed
// nor crash alone: an item without progress for stall_timeout is told on stderr, and destruction waits for its end.
std::unique_ptr<ExecutorHandle> inline_executor(HandleOptions options);

}  // namespace fusegrid
