#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "coordinator/campaign.h"

namespace fusegrid {

// Which worker runs which item next: a state machine without clocks, messages or files, so that every rule
// can be tested by itself.
//
// - A worker keeps to the items of its group while there are any: it holds the result of their costly first
// step.
// - Otherwise it opens the costliest group that nobody works on ("longest first": at most 4/3 of the optimum,
//   Graham 1969).
// - Otherwise it joins the group with the most work left, where that ends sooner than leaving the work to those
//   who are at it.
// - A group with shards above 1 is opened by a team of so many idle workers. Such groups go before all others,
//   and whoever is idle waits for the costliest, so that its team comes together when the busy ones have ended.
//   Only members of the team work on the group's items.
// - A failed item goes to another worker where there is one, up to max_attempts.
// - A worker on which several items in a row crashed gets no more work, unless it is the last one. An item that
//   crashed on two workers speaks for the workers.
class Scheduler {
 public:
  struct Assignment {
    size_t item = 0;  // index into the items
    int attempt = 1;
    std::vector<int> helpers;  // the rest of the team: make the first step with the worker
  };
  enum class Verdict {
    kRetry,       // the item runs again
    kGivenUp,     // its last attempt: it has failed
    kNotCounted,  // it had ended before
  };

  Scheduler(std::vector<Item> items, int max_attempts, int quarantine_after = 3);

  // A worker that is not known, or was lost, is there and idle.
  void add_worker(int worker);
  // Teams have no more members than this, however many shards: the workers that are not lost for good.
  void limit_teams(int workers) { workers_at_most_ = workers; }
  // Next item of an idle worker; nullopt: it has to wait (ask again after any change) or nothing is left.
  std::optional<Assignment> next(int worker);
  // The running item of `worker` has ended. False where the item had ended before.
  bool succeeded(int worker);
  // A helper has done its part, and can work on the group's items.
  void helped(int worker);
  // `suspect`: the failure may be the worker's fault. The item of a team fails with any of its members; the
  // others are busy until they are told to be released().
  Verdict failed(int worker, bool suspect);
  void released(int worker);
  // The worker is gone, with its item if it has one (nullopt: it had none). As failed() for its team.
  std::optional<Verdict> lost(int worker);
  // An item was completed by a worker that had been lost. False where it had ended before.
  bool completed_late(size_t item);

  bool all_ended() const { return ended_ == items_.size(); }
  int running() const;  // items, on workers that are not lost
  size_t items_left() const { return items_.size() - ended_; }
  bool any_pending() const { return pending_ > 0; }
  // Estimated seconds of all that has not ended, first steps of unopened groups included.
  double cost_left() const;
  bool quarantined(int worker) const;
  std::optional<size_t> item_of(int worker) const;
  const std::vector<Item>& items() const { return items_; }

 private:
  enum class State { kPending, kRunning, kEnded };
  struct ItemState {
    State state = State::kPending;
    int attempts = 0;
    size_t group = 0;
    std::set<int> failed_on;
    std::set<int> crashed_on;
  };
  struct Group {
    std::vector<size_t> pending;  // costliest last
    double cost_left = 0;         // of pending items
    double first_step = 0;
    bool opened = false;
    int shards = 1;
    std::set<int> workers;
  };
  struct Worker {
    bool here = true;
    std::optional<size_t> item;
    bool helps = false;   // it has the item as a helper
    bool ending = false;  // its team has failed, and it has yet to stop
    std::optional<size_t> group;
    std::set<size_t> suspicions;  // items that crashed on it since its last success
  };

  // Groups with shards first, then by cost, costliest first, then in order of names.
  using Rank = std::tuple<bool, double, size_t>;

  bool is_idle(const Worker& worker) const { return worker.here && !worker.item && !worker.ending; }
  bool able(int worker) const;
  bool may_take(int worker, size_t item) const;
  std::optional<size_t> takeable(int worker, const Group& group) const;
  int team_size(const Group& group) const { return std::max(1, std::min(group.shards, workers_at_most_)); }
  std::optional<std::vector<int>> helpers_for(int worker, size_t item) const;
  void end_team(size_t item, int failed);
  std::optional<size_t> best_to_join(int worker) const;
  bool joining_pays(const Group& group, size_t item) const;
  Assignment assign(int worker, size_t group, size_t item, std::vector<int> helpers);
  void join(int worker, size_t group);
  void leave(int worker);
  void make_pending(size_t item);
  void take_from_pending(size_t item);
  void end(size_t item);
  Verdict fail_item(size_t item, int worker, bool suspect);
  Rank rank(size_t group) const;

  std::vector<Item> items_;
  std::vector<ItemState> states_;
  std::vector<Group> groups_;
  std::map<int, Worker> workers_;
  std::set<Rank> unattended_;  // groups with pending items that no worker is at
  int most_shards_ = 1;
  int workers_at_most_ = std::numeric_limits<int>::max();
  int max_attempts_;
  size_t quarantine_after_;
  size_t ended_ = 0, pending_ = 0;
};

}  // namespace fusegrid
