#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/result.h"

namespace fusegrid {

// Why an attempt of an item left no result.
struct Failure {
  // "signal", "killed" (SIGKILL from elsewhere: the kernel's, when memory is short), "exit", "exception", "memory",
  // "io", "input" (InputError, worker/executor.h), "stall", "protocol", "device" (it cannot be opened), "lost" (the
  // worker went silent), "cancelled" (its team has failed)
  std::string kind;
  std::string message;   // one line for people: "signal 11 (SIGSEGV)", "exit code 3", ...
  std::string log_tail;  // end of what the executor printed during the item
  int exit_code = 0;     // of the run, where an input has changed

  // An exception speaks of the item; all else might be the fault of the worker or its machine.
  bool worker_suspect() const { return kind != "exception"; }
  // The cause lies outside the item, which is to run again on the next launch.
  bool transient() const {
    return kind == "killed" || kind == "memory" || kind == "io" || kind == "device" || kind == "lost";
  }
};

// What a worker needs to know to run items of one campaign.
struct WorkerSettings {
  int64_t epoch = 0;  // tells the messages of two campaigns of one program apart
  std::string executor_kind;
  nlohmann::json executor_settings;
  std::string device;
  int threads = 1;
  bool inline_executor = false;
  int64_t stall_timeout_ms = 0;
  int64_t silence_limit_ms = 0;  // a worker that hears nothing for so long ends itself
  int64_t memory_limit_bytes = 0;
  bool core_dumps = false;
  std::string log_folder;
  bool teams = false;  // items may be shared by several workers
};

// The workers that make the costly first step of an item together.
struct Team {
  int64_t id = 0;  // counts the teams of a campaign; 0: none, the worker is alone
  std::vector<int>
      ranks;  // of the members, by number; number 0 goes on with the item, the others are then done
};

// Coordinator -> worker. Any message may be lost, late or doubled without harm: tokens number the assignments
// of one worker, the worker repeats what the coordinator has not recorded, and both ignore what they know.
struct Begin {
  WorkerSettings settings;
};
struct Assign {
  int64_t token = 0;
  std::string item;
  int64_t attempt = 1;
  int64_t recorded = 0;  // every outcome of this worker up to this token is on disk
  Team team;
};
// Another member of the team has failed: end the attempt. Its outcome is a failure, or the result that was
// there first.
struct Cancel {
  int64_t token = 0;
};
struct Ping {
  int64_t recorded = 0;
};
struct Stop {
  int64_t epoch = 0;
};
// Worker -> worker: what an executor sends to another member of its team.
struct Relay {
  int64_t epoch = 0;
  int64_t team = 0;
  int member = 0;      // the sender
  int64_t number = 0;  // counts the messages from this sender to this receiver
  std::string bytes;
};
using ToWorker = std::variant<Begin, Assign, Ping, Stop, Cancel, Relay>;

// Worker -> coordinator.
struct Hello {
  int64_t epoch = 0;
  std::string host;
  std::string device;  // DeviceChoice's description
  std::string kind;    // and its kind
  std::string error;   // not empty: this worker has no device to work with, and why
  std::string warning;
};
struct Done {
  int64_t epoch = 0;
  int64_t token = 0;
  std::string item;
  bool ok = false;
  Result result;    // if ok
  Failure failure;  // if not
};
struct Pong {  // before the Hello: the worker's device is still being opened
  int64_t epoch = 0;
  int64_t seen = 0;  // newest token that has arrived
};
struct Bye {
  int64_t epoch = 0;
};
using ToCoordinator = std::variant<Hello, Done, Pong, Bye>;

// Supervisor -> executor process.
struct ExecutorStart {
  std::string kind;
  nlohmann::json settings;
  std::string device;
  int threads = 1;
  int64_t progress_ms = 200;
};
struct ExecutorRun {
  std::string item;
  int64_t team = 0;  // 0: alone
  int member = 0;
  int members = 1;
};
// A message of the team: `member` is the sender where it comes to an executor, the receiver where it leaves one.
struct ExecutorRelay {
  int64_t team = 0;
  int member = 0;
  std::string bytes;
};
using ToExecutor = std::variant<ExecutorStart, ExecutorRun, ExecutorRelay>;

// Executor process -> supervisor.
struct ExecutorProgress {
  uint64_t count = 0;
};
struct ExecutorResult {
  Result result;
};
struct ExecutorFailure {
  Failure failure;
};
using FromExecutor = std::variant<ExecutorProgress, ExecutorResult, ExecutorFailure, ExecutorRelay>;

// CBOR: [index of the variant's alternative, its fields]. Decoding throws DataError on anything else.
std::string encode(const ToWorker& message);
std::string encode(const ToCoordinator& message);
std::string encode(const ToExecutor& message);
std::string encode(const FromExecutor& message);
ToWorker decode_to_worker(const std::string& bytes);
ToCoordinator decode_to_coordinator(const std::string& bytes);
ToExecutor decode_to_executor(const std::string& bytes);
FromExecutor decode_from_executor(const std::string& bytes);

}  // namespace fusegrid
