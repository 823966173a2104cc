#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "core/errors.h"
#include "core/registry.h"
#include "core/result.h"

namespace fusegrid {

class TeamChannel;

// Tells the supervisor that the executor is alive: it kills an executor whose counter stands still for too
// long (not one that is merely slow). Cheap; call it for every batch, tensor or training step.
class Progress {
 public:
  void tick() { count_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_{0};
};

// What an executor throws where something that the run was started with is gone, damaged or another thing now: a model,
// a task pack. No item's fault, and true of all of them: it ends the run, once, with the exit code and the message.
struct InputError : Error {
  using Error::Error;
};

// Runs `read`, which reads such things; what is wrong with them becomes an InputError.
template <typename Read>
decltype(auto) reading_inputs(const Read& read) {
  try {
    return read();
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {  // all was right when the run began
    throw InputError(error.code() == ExitCode::kIo ? ExitCode::kIo : ExitCode::kDataCorrupt, error.what());
  }
}

// Runs items of one kind of campaign: holds models, data and caches between items. Lives in the executor
// process (or in the rank itself with --inline). An exception fails the item's attempt, nothing else
// (but for InputError).
class Executor {
 public:
  virtual ~Executor() = default;
  // Everything but `attempts` and `worker` is filled in.
  virtual Result run(const std::string& item, Progress& progress) = 0;
  // The costly first step that `item` shares with others (its merge), as one member of a team: every member is
  // called with the same item, and keeps what run() of these items then needs.
  virtual void prepare(const std::string& item, TeamChannel& team, Progress& progress);
};

struct ExecutorContext {
  nlohmann::json settings;  // of the campaign, the same for every worker
  std::string device;       // "cpu" or "cuda:0"
  int threads = 1;          // of LibTorch; part of the provenance, since bits depend on it
  Progress* progress = nullptr;
};

// Kind ("grid", "zoo", "null", ...) -> maker. Files of src/worker and tests register themselves.
using MakeExecutor = std::function<std::unique_ptr<Executor>(const ExecutorContext&)>;
Registry<MakeExecutor>& executor_registry();

}  // namespace fusegrid
