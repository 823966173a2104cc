#pragma once

#include <chrono>
#include <filesystem>
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
};

struct CampaignOptions {
  std::string executor_kind;                         // key of executor_registry()
  nlohmann::json executor_settings;                  // handed to every executor
  int max_attempts = 2;                              // of an item whose attempt crashed, hung or threw
  std::chrono::milliseconds stall_timeout{120'000};  // without progress, then the executor is killed
  std::chrono::milliseconds publish_every{30'000};
  int64_t memory_limit_bytes = 0;  // of an executor's address space; 0: none
  int threads = 1;
  std::string device = "auto";       // auto | cpu | cuda
  bool inline_executor = false;      // run items in the rank's own process (debuggers, sanitizers)
  bool quiet = false;                // no progress line
  std::filesystem::path log_folder;  // stderr of executors, one file per worker
};

struct CampaignReport {
  int64_t valid = 0, invalid = 0, failed = 0, not_run = 0;
  bool stopped =
      false;  // by SIGTERM, SIGINT or SIGUSR1: in-flight items were given up, recorded ones are safe
  double seconds = 0;
  std::vector<std::string> failures;  // one line each: item, reason, how to rerun
  ExitCode exit_code() const;
};

// Rank 0: hands `items` out to the workers of `transport` (ranks 1..; itself too if it is alone), longest
// first, keeps a group's items together, splits a group when workers would idle, retries crashed items on
// another worker, records every result and publishes. Items must not have results yet. Returns when every
// item has a result, or on a stop signal.
CampaignReport run_campaign(Transport& transport, ResultStore& store, const std::vector<Item>& items,
                            const CampaignOptions& options);

// Ranks > 0: a supervisor that keeps one executor process and runs what the coordinator sends, until told to
// stop.
void run_worker(Transport& transport);

}  // namespace fusegrid
