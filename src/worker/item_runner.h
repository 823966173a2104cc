#pragma once

#include <memory>
#include <string>
#include <variant>

#include "worker/executor.h"
#include "worker/protocol.h"

namespace fusegrid {

using Outcome = std::variant<Result, Failure>;

// Runs items by an executor of the registry, in the calling thread, and turns whatever they throw into
// failures. The executor is made with the first item, so that its start is charged to an attempt like any
// other fault.
class ItemRunner {
 public:
  explicit ItemRunner(ExecutorStart start) : start_(std::move(start)) {}
  // Opens the device, which comes before the first item. A nameless result, or a failure of kind "device".
  Outcome open();
  Outcome run(const std::string& item);
  const Progress& progress() const { return progress_; }

 private:
  Result run_unguarded(const std::string& item);

  ExecutorStart start_;
  Progress progress_;
  std::unique_ptr<Executor> executor_;
};

// The executor process: serves the supervisor at the other end of socket `fd` until it closes. Returns the
// exit status. (The hidden subcommand `executor` of the program; fd is 3.)
int executor_main(int fd);

}  // namespace fusegrid
