// Prints what the system itself costs per item: wall time of a campaign of items that do nothing, divided by
// their number. The store is in memory, so that the journal's flushes are not part of it.
//
//   mpirun -n 8 scheduler_overhead [items per kind of executor, 5000]
#include <iostream>
#include <string>

#include "coordinator/campaign.h"
#include "support/fake_store.h"
#include "worker/item_runner.h"
#include "worker/supervisor.h"

namespace fusegrid {
namespace {

void measure(Transport& transport, int count, bool inline_executor) {
  std::vector<Item> items;
  for (int i = 0; i < count; ++i) {
    items.push_back({"item" + std::to_string(i), "group" + std::to_string(i / 8), 0.001, 0.001});
  }
  CampaignOptions options;
  options.executor_kind = "null";
  options.device = "cpu";
  options.inline_executor = inline_executor;
  options.quiet = true;
  FakeStore warm_up;  // executors start with their first item
  std::vector<Item> first(items.begin(), items.begin() + std::min(count, 64));
  const double start_s = run_campaign(transport, warm_up, first, options).seconds;
  FakeStore store;
  const CampaignReport report = run_campaign(transport, store, items, options);
  // Each campaign starts its executors anew: the first one measures little else.
  const double seconds = inline_executor ? report.seconds : report.seconds - start_s;
  std::cout << (inline_executor ? "inline executor: " : "child executor:  ") << 1000 * seconds / count
            << " ms per item (" << count << " items, " << transport.size() << " ranks, " << report.valid
            << " valid; campaign of " << first.size() << " items: " << start_s << " s)" << std::endl;
}

}  // namespace
}  // namespace fusegrid

int main(int argc, char** argv) {
  using namespace fusegrid;
  if (argc > 1 && std::string(argv[1]) == "executor") {
    return executor_main(3);
  }
  const int count = argc > 1 ? std::stoi(argv[1]) : 5000;
  std::unique_ptr<Transport> transport =
      launched_by_mpi() ? mpi_transport(&argc, &argv) : std::move(in_process_transports(1)[0]);
  if (transport->rank() > 0) {
    run_worker(*transport);
    return 0;
  }
  measure(*transport, count, true);
  measure(*transport, count, false);
  stop_workers(*transport);
  return 0;
}
