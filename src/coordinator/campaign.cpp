#include "coordinator/campaign.h"

#include <set>
#include <thread>

#include "coordinator/dispatcher.h"
#include "coordinator/stop_signal.h"
#include "worker/executor.h"
#include "worker/supervisor.h"

namespace fusegrid {
namespace {

void check(const std::vector<Item>& items, const CampaignOptions& options) {
  executor_registry().at(options.executor_kind);
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1) {
      throw ConfigError(std::string(name) + " must be at least 1, but it is " + std::to_string(value));
    }
  };
  at_least_one("the number of attempts", options.max_attempts);
  at_least_one("the number of threads", options.threads);
  at_least_one("the stall timeout in ms", options.stall_timeout.count());
  if (options.device != "auto" && options.device != "cpu" && options.device != "cuda") {
    throw ConfigError("the device must be auto, cpu or cuda, but it is '" + options.device + "'");
  }
  std::set<std::string> names;
  for (const Item& item : items) {
    if (!names.insert(item.name).second) {
      throw ConfigError("each item must be named once, but '" + item.name + "' is there twice");
    }
  }
}

// A worker as a thread of this process, for a rank that is alone.
class ThreadWorker {
 public:
  ThreadWorker() : ends_(in_process_transports(2)), thread_([this] { run_worker(*ends_[1]); }) {}
  ~ThreadWorker() {
    stop_workers(*ends_[0]);
    thread_.join();
  }
  ThreadWorker(const ThreadWorker&) = delete;
  ThreadWorker& operator=(const ThreadWorker&) = delete;
  Transport& coordinator_end() { return *ends_[0]; }

 private:
  std::vector<std::unique_ptr<Transport>> ends_;
  std::thread thread_;
};

}  // namespace

ExitCode CampaignReport::exit_code() const {
  if (stopped) {
    return ExitCode::kStopped;
  }
  return failed + invalid > 0 ? ExitCode::kCellsFailed : ExitCode::kOk;
}

CampaignReport run_campaign(Transport& transport, ResultStore& store, const std::vector<Item>& items,
                            const CampaignOptions& options) {
  static int64_t last_epoch = 0;
  FUSEGRID_ASSERT(transport.rank() == 0, "called on rank " + std::to_string(transport.rank()));
  check(items, options);
  if (items.empty()) {
    store.publish();  // an earlier launch may have been kept from it, and its file may be gone
    return {};
  }
  const StopSignal stop;  // before the worker's thread: it leaves handled signals alone
  if (transport.size() > 1) {
    return Dispatcher(transport, store, items, options, ++last_epoch, stop).run();
  }
  ThreadWorker worker;
  return Dispatcher(worker.coordinator_end(), store, items, options, ++last_epoch, stop).run();
}

void stop_workers(Transport& transport) {
  for (int rank = 1; rank < transport.size(); ++rank) {
    transport.send(rank, encode(ToWorker(Stop{0})));
  }
}

}  // namespace fusegrid
