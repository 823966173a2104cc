#include "coordinator/scheduler.h"

#include <algorithm>

namespace fusegrid {

Scheduler::Scheduler(std::vector<Item> items, int max_attempts, int quarantine_after)
    : items_(std::move(items)),
      states_(items_.size()),
      max_attempts_(max_attempts),
      quarantine_after_(static_cast<size_t>(quarantine_after)) {
  std::map<std::string, size_t> index;  // groups in order of names: ties do not depend on the order of items
  for (const Item& item : items_) {
    index.emplace(item.group, 0);
  }
  size_t next_index = 0;
  for (auto& [name, group] : index) {
    group = next_index++;
  }
  groups_.resize(index.size());
  for (size_t i = 0; i < items_.size(); ++i) {
    Group& group = groups_[index.at(items_[i].group)];
    states_[i].group = index.at(items_[i].group);
    group.first_step = std::max(group.first_step, items_[i].group_cost_s);
    group.shards = std::max(group.shards, items_[i].shards);
    most_shards_ = std::max(most_shards_, group.shards);
  }
  for (size_t i = 0; i < items_.size(); ++i) {
    make_pending(i);
  }
}

void Scheduler::add_worker(int worker) {
  Worker& entry = workers_[worker];
  FUSEGRID_ASSERT(!entry.item, "worker " + std::to_string(worker) + " is busy");
  entry.here = true;
}

std::optional<Scheduler::Assignment> Scheduler::next(int worker) {
  Worker& entry = workers_.at(worker);
  FUSEGRID_ASSERT(is_idle(entry), "worker " + std::to_string(worker) + " is not idle");
  if (pending_ == 0 || !able(worker)) {
    leave(worker);
    return std::nullopt;
  }
  if (entry.group) {
    if (const auto item = takeable(worker, groups_[*entry.group])) {
      return assign(worker, *entry.group, *item, {});
    }
    leave(worker);
  }
  for (const auto& [alone, cost, group] : unattended_) {
    if (const auto item = takeable(worker, groups_[group])) {
      auto helpers = helpers_for(worker, *item);
      return helpers ? std::optional(assign(worker, group, *item, std::move(*helpers))) : std::nullopt;
    }
  }
  if (const auto group = best_to_join(worker)) {
    return assign(worker, *group, *takeable(worker, groups_[*group]), {});
  }
  return std::nullopt;
}

// Idle workers without work at their own group; those first on which the item has not failed.
std::optional<std::vector<int>> Scheduler::helpers_for(int worker, size_t item) const {
  const auto needed = static_cast<size_t>(team_size(groups_[states_[item].group])) - 1;
  std::vector<int> helpers;
  for (const auto& [other, entry] : workers_) {
    if (needed > 0 && other != worker && is_idle(entry) && able(other) && may_take(other, item) &&
        !(entry.group && takeable(other, groups_[*entry.group]))) {
      helpers.push_back(other);
    }
  }
  if (helpers.size() < needed) {
    return std::nullopt;
  }
  std::stable_partition(helpers.begin(), helpers.end(),
                        [&](int other) { return !states_[item].failed_on.contains(other); });
  helpers.resize(needed);
  return helpers;
}

bool Scheduler::succeeded(int worker) {
  Worker& entry = workers_.at(worker);
  FUSEGRID_ASSERT(entry.item.has_value(), "worker " + std::to_string(worker) + " runs nothing");
  const size_t item = *entry.item;
  entry.item.reset();
  entry.suspicions.clear();
  if (states_[item].state == State::kEnded) {
    return false;
  }
  end(item);
  return true;
}

void Scheduler::helped(int worker) {
  Worker& entry = workers_.at(worker);
  FUSEGRID_ASSERT(entry.item && entry.helps, "worker " + std::to_string(worker) + " helps nobody");
  entry.item.reset();
  entry.helps = false;
  entry.suspicions.clear();
}

Scheduler::Verdict Scheduler::failed(int worker, bool suspect) {
  Worker& entry = workers_.at(worker);
  FUSEGRID_ASSERT(entry.item.has_value(), "worker " + std::to_string(worker) + " runs nothing");
  const size_t item = *entry.item;
  end_team(item, worker);
  const Verdict verdict = fail_item(item, worker, suspect);
  if (!able(worker) || groups_[states_[item].group].shards > 1) {  // what its team made may be lost
    leave(worker);
  }
  return verdict;
}

void Scheduler::released(int worker) {
  workers_.at(worker).ending = false;
}

// Takes the item from all who have it.
void Scheduler::end_team(size_t item, int failed) {
  for (auto& [worker, entry] : workers_) {
    if (entry.item == item) {
      entry.item.reset();
      entry.helps = false;
      if (worker != failed) {
        entry.ending = true;
        leave(worker);
      }
    }
  }
}

std::optional<Scheduler::Verdict> Scheduler::lost(int worker) {
  Worker& entry = workers_.at(worker);
  entry.here = false;
  entry.ending = false;
  leave(worker);
  if (!entry.item) {
    return std::nullopt;
  }
  const size_t item = *entry.item;
  end_team(item, worker);
  return fail_item(item, worker, false);  // being lost takes it out already
}

bool Scheduler::completed_late(size_t item) {
  if (states_[item].state == State::kEnded) {
    return false;
  }
  if (states_[item].state == State::kPending) {
    take_from_pending(item);
  }
  end(item);
  return true;
}

int Scheduler::running() const {
  return static_cast<int>(std::count_if(workers_.begin(), workers_.end(), [](const auto& entry) {
    return entry.second.item && !entry.second.helps;
  }));
}

double Scheduler::cost_left() const {
  double cost = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    cost += states_[i].state == State::kEnded ? 0 : items_[i].cost_s;
  }
  for (const Group& group : groups_) {
    cost += group.opened || group.pending.empty() ? 0 : group.first_step;
  }
  return cost;
}

bool Scheduler::quarantined(int worker) const {
  return workers_.at(worker).suspicions.size() >= quarantine_after_;
}

std::optional<size_t> Scheduler::item_of(int worker) const {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? std::nullopt : found->second.item;
}

// Here, and not in quarantine unless too many others are.
bool Scheduler::able(int worker) const {
  const Worker& entry = workers_.at(worker);
  if (!entry.here) {
    return false;
  }
  return !quarantined(worker) || std::count_if(workers_.begin(), workers_.end(), [&](const auto& other) {
                                   return other.second.here && !quarantined(other.first);
                                 }) < std::min(most_shards_, workers_at_most_);
}

// A worker gets an item that has failed on it only where too few others could take it.
bool Scheduler::may_take(int worker, size_t item) const {
  const auto& failed_on = states_[item].failed_on;
  if (!failed_on.contains(worker)) {
    return true;
  }
  return std::count_if(workers_.begin(), workers_.end(), [&](const auto& other) {
           return !failed_on.contains(other.first) && able(other.first);
         }) < team_size(groups_[states_[item].group]);
}

std::optional<size_t> Scheduler::takeable(int worker, const Group& group) const {
  for (auto item = group.pending.rbegin(); item != group.pending.rend(); ++item) {
    if (may_take(worker, *item)) {
      return *item;
    }
  }
  return std::nullopt;
}

std::optional<size_t> Scheduler::best_to_join(int worker) const {
  std::optional<size_t> best;
  for (const auto& [other, entry] : workers_) {
    if (!entry.group || groups_[*entry.group].shards > 1 ||
        (best && groups_[*best].cost_left >= groups_[*entry.group].cost_left)) {
      continue;
    }
    const auto item = takeable(worker, groups_[*entry.group]);
    if (item && joining_pays(groups_[*entry.group], *item)) {
      best = entry.group;
    }
  }
  return best;
}

// Joining ends the item after the first step and the item itself; leaving it ends it when those who are at
// the group have done what is pending and, at worst, all of what they run. An item that has failed is worth
// it always: those at the group may not be allowed to take it.
bool Scheduler::joining_pays(const Group& group, size_t item) const {
  if (!states_[item].failed_on.empty()) {
    return true;
  }
  double theirs = group.cost_left;
  for (const int worker : group.workers) {
    const auto running = workers_.at(worker).item;
    theirs += running ? items_[*running].cost_s + (group.opened ? 0 : group.first_step) : 0;
  }
  return group.first_step + items_[item].cost_s <= theirs / static_cast<double>(group.workers.size());
}

Scheduler::Assignment Scheduler::assign(int worker, size_t group, size_t item, std::vector<int> helpers) {
  join(worker, group);
  take_from_pending(item);
  states_[item].state = State::kRunning;
  workers_.at(worker).item = item;
  for (const int helper : helpers) {
    leave(helper);
    join(helper, group);
    workers_.at(helper).item = item;
    workers_.at(helper).helps = true;
  }
  return {item, ++states_[item].attempts, std::move(helpers)};
}

void Scheduler::join(int worker, size_t group) {
  unattended_.erase(rank(group));
  groups_[group].workers.insert(worker);
  workers_.at(worker).group = group;
}

void Scheduler::leave(int worker) {
  Worker& entry = workers_.at(worker);
  if (!entry.group) {
    return;
  }
  Group& group = groups_[*entry.group];
  group.workers.erase(worker);
  if (group.workers.empty() && !group.pending.empty()) {
    unattended_.insert(rank(*entry.group));
  }
  entry.group.reset();
}

// By what a worker that opens the group has before it.
Scheduler::Rank Scheduler::rank(size_t group) const {
  const Group& entry = groups_[group];
  return {entry.shards == 1, -(entry.first_step + entry.cost_left), group};
}

void Scheduler::make_pending(size_t item) {
  const size_t index = states_[item].group;
  Group& group = groups_[index];
  unattended_.erase(rank(index));
  const auto cheaper = [this](size_t a, size_t b) {
    return items_[a].cost_s != items_[b].cost_s ? items_[a].cost_s < items_[b].cost_s
                                                : items_[a].name > items_[b].name;
  };
  group.pending.insert(std::upper_bound(group.pending.begin(), group.pending.end(), item, cheaper), item);
  group.cost_left += items_[item].cost_s;
  states_[item].state = State::kPending;
  ++pending_;
  if (group.workers.empty()) {
    unattended_.insert(rank(index));
  }
}

void Scheduler::take_from_pending(size_t item) {
  const size_t index = states_[item].group;
  Group& group = groups_[index];
  const bool was_unattended = unattended_.erase(rank(index)) > 0;
  const auto found = std::find(group.pending.rbegin(), group.pending.rend(), item);  // most often the last
  group.pending.erase(std::prev(found.base()));
  // Nothing pending is exactly 0, whatever the sums before were rounded to.
  group.cost_left = group.pending.empty() ? 0 : group.cost_left - items_[item].cost_s;
  --pending_;
  if (was_unattended && !group.pending.empty()) {
    unattended_.insert(rank(index));
  }
}

void Scheduler::end(size_t item) {
  states_[item].state = State::kEnded;
  groups_[states_[item].group].opened = true;
  ++ended_;
}

Scheduler::Verdict Scheduler::fail_item(size_t item, int worker, bool suspect) {
  ItemState& state = states_[item];
  if (suspect) {
    workers_.at(worker).suspicions.insert(item);
    state.crashed_on.insert(worker);
    if (state.crashed_on.size() > 1) {
      for (const int witness : state.crashed_on) {
        workers_.at(witness).suspicions.erase(item);
      }
    }
  }
  if (state.state == State::kEnded) {
    return Verdict::kNotCounted;
  }
  state.failed_on.insert(worker);
  if (state.attempts < max_attempts_) {
    make_pending(item);
    return Verdict::kRetry;
  }
  end(item);
  return Verdict::kGivenUp;
}

}  // namespace fusegrid
