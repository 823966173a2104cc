#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "coordinator/campaign.h"
#include "coordinator/progress_line.h"
#include "coordinator/scheduler.h"
#include "coordinator/stop_signal.h"
#include "worker/protocol.h"

namespace fusegrid {

// One campaign as the coordinator sees it: the event loop between workers, scheduler and store.
//
// Execution is at least once, recording exactly once: an item ends with the first outcome that arrives for
// it, and what arrives later is dropped. A result is confirmed to its worker (which repeats it until then)
// only after a flush of the store; flushes are shared by all results of 50 ms.
class Dispatcher {
 public:
  Dispatcher(Transport& transport, ResultStore& store, const std::vector<Item>& items,
             const CampaignOptions& options, int64_t epoch, const StopSignal& stop);
  // Whatever happens, the workers are at rest when it returns or throws.
  CampaignReport run();

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  struct Flight {
    int64_t token = 0;
    size_t item = 0;
    int attempt = 1;
    Team team = {};          // that makes the first step of the item
    bool cancelled = false;  // another member has failed: the outcome is not counted
    Time sent = {};
    bool helps = false;  // in the team, but does not go on with the item
  };
  struct Peer {
    std::optional<Hello> hello;
    bool opening = false;          // its device, before its hello
    std::optional<Flight> flight;  // what it runs
    std::optional<Flight> orphan;  // what it ran when it was given up
    int64_t last_token = 0;        // assigned
    int64_t ended_token = 0;       // newest whose outcome was taken
    int64_t recorded = 0;          // newest whose outcome is on disk
    std::optional<Time> asked;     // oldest unanswered ping
    bool lost = false;
    bool bye = false;
  };

  void greet();
  void hand_out_everything();
  void take_messages(std::chrono::microseconds timeout);
  void take(int rank, const ToCoordinator& message);
  void on(int rank, const Hello& hello);
  void on(int rank, const Done& done);
  void on(int rank, const Pong& pong);
  void on(int rank, const Bye& bye);
  void take_outcome(int rank, const Flight& flight, const Done& done, bool late);
  void take_failure(int rank, const Flight& flight, const Failure& failure, Scheduler::Verdict verdict);
  void record(Result result, int rank, const Flight& flight);
  void assign();
  void start(int rank, const Scheduler::Assignment& what, const Team& team, bool helps);
  void send_run(int rank);
  void cancel_team(size_t item);
  void count_workers();
  void revive(int rank);
  void give_up_silent_workers(Time now);
  void ping(Time now);
  void flush();
  void publish(Time now);
  void obey_stop_signal(Time now);
  bool over(Time now) const;
  void end_campaign_of_workers() noexcept;
  void take_bye(const Message& message) noexcept;
  void print_table();

  WorkerSettings worker_settings() const;
  CampaignCounts counts() const;
  std::string worker_text(int rank) const;
  std::string kinds_text(int rank, const Team& team) const;
  void send(int rank, const ToWorker& message);

  Transport& transport_;
  ResultStore& store_;
  const CampaignOptions& options_;
  const int64_t epoch_;
  const StopSignal& stop_;
  Scheduler scheduler_;
  ProgressLine progress_;
  std::map<int, Peer> peers_;
  std::set<std::string> kinds_;  // of devices: the workers', and those that made the results that were there
  size_t kinds_told_ = 1;        // one needs no warning
  CampaignReport report_;
  Time start_, last_ping_, last_publish_;
  std::optional<Time> dirty_since_;  // oldest record that is not flushed
  std::chrono::nanoseconds publish_took_{0};
  bool published_all_ = false;  // of the results that are recorded; those of earlier launches count
  int64_t last_team_ = 0;
  bool idle_changed_ = true;  // somebody might get an item now who got none before
  bool stopping_ = false;
  std::optional<Time> stop_deadline_;
  std::optional<Failure> input_failure_;  // ends the campaign
  double cost_at_start_ = 0;
};

}  // namespace fusegrid
