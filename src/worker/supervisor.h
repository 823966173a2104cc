#pragma once

#include "comm/transport.h"
#include "worker/device.h"
#include "worker/executor_handle.h"

namespace fusegrid {

// How a worker starts its executors and what its host has; tests use programs and hosts of their own.
struct WorkerOptions {
  std::string executable = "/proc/self/exe";
  std::vector<std::string> arguments = {"executor"};
  HostDevices host = HostDevices::here();
};

// A worker rank: serves the coordinator's campaigns, one after the other, until stop_workers() of rank 0
// (coordinator/campaign.h). Keeps one executor, runs one item at a time, answers pings. Ignores SIGTERM,
// SIGINT and SIGUSR1 meanwhile: the launcher sends them to every rank, and the coordinator decides what they
// mean. A worker that hears nothing from the coordinator for the campaign's silence_limit ends its executor
// and aborts all ranks with kStopped.
void run_worker(Transport& transport, const WorkerOptions& options = {});

}  // namespace fusegrid
