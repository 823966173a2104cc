// One rank of the tests under mpirun ("nccl" and "campaign gpu" need GPUs and are started by hand). Exits
// with 0 on every rank, or with 1 and a message.
#include <algorithm>
#include <iostream>

#include "comm/agreement.h"
#include "coordinator/campaign.h"
#include "support/collectives_checks.h"
#include "support/fake_store.h"
#include "support/faulty_executor.h"
#include "worker/device.h"
#include "worker/item_runner.h"
#include "worker/supervisor.h"

namespace fusegrid {
namespace {

int complain(const std::vector<std::string>& wrong) {
  for (const auto& line : wrong) {
    std::cerr << line << "\n";
  }
  return wrong.empty() ? 0 : 1;
}

// All ranks as one group, then all but rank 0.
int test_collectives(Transport& transport) {
  auto wrong = check_collectives(*mpi_collectives(0), at::kCPU);
  if (transport.rank() > 0) {
    const auto workers = mpi_collectives(1);
    if (workers->size() != transport.size() - 1 || workers->rank() != transport.rank() - 1) {
      wrong.emplace_back("the group of workers has the wrong ranks");
    }
    const auto more = check_collectives(*workers, at::kCPU);
    wrong.insert(wrong.end(), more.begin(), more.end());
  }
  return complain(wrong);
}

// On a host with a GPU per rank: all ranks as one NCCL group, rank r on device r.
int test_nccl(Transport& transport) {
  load_cuda();
  const int device = transport.rank();
  const auto group = nccl_collectives_of(*mpi_collectives(0), device);
  return complain(check_collectives(*group, at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device))));
}

CampaignOptions options_of(const std::string& mode) {
  CampaignOptions options;
  options.executor_kind = mode == "crashing" || mode == "teams" ? "faulty" : "null";
  options.device = mode == "refused" || mode == "gpu" ? "cuda" : "cpu";
  options.inline_executor = mode == "inline";
  options.max_attempts = mode == "crashing" || mode == "teams" ? 50 : 2;
  return options;
}

// "crashing": every tenth run of an item kills its executor. "teams": in teams of 3, every tenth member kills
// itself.
int coordinate(Transport& transport, const std::string& mode) {
  const int count = mode == "crashing" || mode == "teams" ? 60 : 300;
  const std::string deed = mode == "teams" ? "teamroulette-" : "roulette-";
  std::vector<Item> items;
  for (int i = 0; i < count; ++i) {
    items.push_back(
        {deed + std::to_string(i), "group" + std::to_string(i / 10), 1.0, 1.0, mode == "teams" ? 3 : 1});
  }
  FakeStore store;
  const CampaignReport report = run_campaign(transport, store, items, options_of(mode));
  const bool once = std::all_of(store.times_recorded.begin(), store.times_recorded.end(),
                                [](const auto& record) { return record.second == 1; });
  if (report.valid != count || report.exit_code() != ExitCode::kOk || !once || store.dirty ||
      store.times_recorded.size() != items.size()) {
    return complain({std::to_string(report.valid) + " valid results of " + std::to_string(count) + ", " +
                     std::to_string(report.failed) + " failed, each once: " + (once ? "yes" : "no")});
  }
  return 0;
}

int test_campaign(Transport& transport, const std::string& mode) {
  if (transport.rank() > 0) {
    run_worker(transport);
    return 0;
  }
  int status = 1;
  try {
    status = coordinate(transport, mode);
  } catch (const DeviceError& error) {
    status = mode == "refused" ? 0 : 1;
    std::cerr << error.what() << "\n";
  }
  stop_workers(transport);
  return mode == "refused" && status != 0 ? complain({"a missing GPU was accepted"}) : status;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments == std::vector<std::string>{"executor"}) {
    return fusegrid::executor_main(3);
  }
  if (!fusegrid::launched_by_mpi()) {
    std::cerr << "start it by mpirun: mpi_program collectives | nccl | campaign "
                 "inline|child|crashing|teams|refused|gpu\n";
    return 1;
  }
  const auto transport = fusegrid::mpi_transport(&argc, &argv);
  if (arguments.at(0) == "nccl") {
    return fusegrid::test_nccl(*transport);
  }
  return arguments.at(0) == "collectives" ? fusegrid::test_collectives(*transport)
                                          : fusegrid::test_campaign(*transport, arguments.at(1));
}
