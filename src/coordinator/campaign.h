#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/transport.h"
#include "core/errors.h"
#include "store/result_store.h"

namespace fusegrid {

// One schedulable unit: a cell, or an expert to train.
struct Item {
  std::string name;
  std::string group;  // items of one group share a costly first step (their merge) on the worker that has it
  double cost_s = 0;  // estimated seconds of the item itself
  double group_cost_s = 0;  // estimated seconds of the shared first step
  int shards = 1;           // workers that make the first step together; the same for all items of a group
  std::map<std::string, std::string> bindings = {};  // recorded with its result
};

struct CampaignOptions {
  std::string executor_kind;                         // key of executor_registry()
  nlohmann::json executor_settings;                  // handed to every executor
  int max_attempts = 2;                              // of an item whose attempt crashed, hung or threw
  std::chrono::milliseconds stall_timeout{120'000};  // without progress, then the executor is killed
  std::chrono::milliseconds publish_every{30'000};   // stretched where publishing takes long
  int64_t memory_limit_bytes = 0;                    // of an executor's address space, on CPUs; 0: none
  int threads = 1;                                   // of an executor
  std::string device = "auto";                       // auto | cpu | cuda
  bool inline_executor = false;             // run items in the rank's own process (debuggers, sanitizers)
  bool core_dumps = false;                  // of executors that crash
  std::function<void(Result&)> judge = {};  // sees every result before it is recorded, and may distrust it
  bool quiet = false;                       // no progress line, no table of workers
  std::filesystem::path log_folder;         // existing; output of executors, one file per worker; empty: none

  // Protocol times; the defaults suit every machine, tests shorten them.
  std::chrono::milliseconds ping_every{1'000};
  std::chrono::milliseconds silence_limit{120'000};  // of either side, then it counts as lost
  std::chrono::milliseconds stop_grace{500};  // of running items after SIGTERM: mpirun kills 1 s after it
};

struct CampaignReport {
  int64_t valid = 0, invalid = 0, failed = 0, not_run = 0;
  // By SIGTERM, SIGINT or SIGUSR1, or because no worker answers any more: items in flight were given up,
  // recorded ones are safe.
  bool stopped = false;
  double seconds = 0;
  std::vector<std::string> failures;  // one line each: item, reason, how to rerun
  ExitCode exit_code() const;
};

// Rank 0: hands `items` out to the workers of `transport` (ranks 1..; itself too if it is alone), longest
// first, keeps a group's items together, splits a group when workers would idle, retries failed items on
// another worker, records every result and publishes. Items must not have results yet, and their names must
// differ. Returns when every item has a result, or on a stop signal; without items at once, published. Throws, with
// everything recorded so far on disk and the workers at rest:
//   DeviceError  a worker has no device to work with (before the first item runs)
//   ConfigError  the executor kind is not known, the options make no sense, a name occurs twice
//   IoError      of the store: the disk is full, ...
//   Error        (65 or 74) what the run was started with is gone or another thing now: a model, a task pack
CampaignReport run_campaign(Transport& transport, ResultStore& store, const std::vector<Item>& items,
                            const CampaignOptions& options);

// Rank 0, last of all and whatever happened before: lets the other ranks return from run_worker()
// (worker/supervisor.h). Without it they wait for the next campaign, and MPI cannot be finalised.
void stop_workers(Transport& transport);

}  // namespace fusegrid
