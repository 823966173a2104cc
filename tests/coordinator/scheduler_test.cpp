#include "coordinator/scheduler.h"

#include <algorithm>
#include <queue>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fusegrid {
namespace {

using Verdict = Scheduler::Verdict;

std::vector<Item> one_group(int items, double cost, double first_step) {
  std::vector<Item> all;
  for (int i = 0; i < items; ++i) {
    all.push_back({"i" + std::to_string(i), "g", cost, first_step});
  }
  return all;
}

std::string next_name(Scheduler& scheduler, int worker) {
  const auto next = scheduler.next(worker);
  return next ? scheduler.items()[next->item].name : "none";
}

TEST(Scheduler, StartsTheCostliestGroupsFirst) {
  Scheduler scheduler({{"a", "small", 1, 0}, {"b", "large", 2, 9}, {"c", "large", 3, 9}, {"d", "mid", 5, 5}},
                      2);
  for (int worker = 1; worker <= 3; ++worker) {
    scheduler.add_worker(worker);
  }

  EXPECT_EQ(next_name(scheduler, 1), "c");  // 9 + 3 + 2, its costliest item first
  EXPECT_EQ(next_name(scheduler, 2), "d");  // 5 + 5
  EXPECT_EQ(next_name(scheduler, 3), "a");
}

TEST(Scheduler, KeepsAWorkerAtItsGroup) {
  Scheduler scheduler({{"a1", "a", 1, 1}, {"a2", "a", 1, 1}, {"b", "b", 1.5, 1}}, 2);
  scheduler.add_worker(1);

  EXPECT_EQ(next_name(scheduler, 1), "a1");
  scheduler.succeeded(1);

  EXPECT_EQ(next_name(scheduler, 1), "a2");  // though b is costlier by now
  EXPECT_DOUBLE_EQ(scheduler.cost_left(), 1 + 1.5 + 1);
}

TEST(Scheduler, SplitsAGroupWhereThatEndsSooner) {
  Scheduler scheduler(one_group(10, 1, 2), 2);
  scheduler.add_worker(1);
  scheduler.add_worker(2);

  EXPECT_EQ(next_name(scheduler, 1), "i0");
  EXPECT_EQ(next_name(scheduler, 2), "i1");  // 2 + 1 s alone, against 9 s of waiting
}

TEST(Scheduler, LeavesAGroupWholeWhereTheFirstStepCostsMore) {
  Scheduler scheduler(one_group(3, 1, 20), 2);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  scheduler.next(1);
  scheduler.succeeded(1);
  scheduler.next(1);

  EXPECT_EQ(next_name(scheduler, 2), "none");  // 20 + 1 s, against 2 s
  EXPECT_TRUE(scheduler.any_pending());
}

TEST(Scheduler, RepeatsOnAnotherWorker) {
  Scheduler scheduler({{"bad", "g", 1, 0}, {"good", "h", 0.5, 0}}, 2);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  EXPECT_EQ(next_name(scheduler, 1), "bad");

  EXPECT_EQ(scheduler.failed(1, true), Verdict::kRetry);

  EXPECT_EQ(next_name(scheduler, 1), "good");
  const auto second = scheduler.next(2);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->item, 0U);
  EXPECT_EQ(second->attempt, 2);
  EXPECT_EQ(scheduler.failed(2, true), Verdict::kGivenUp);
  EXPECT_TRUE(scheduler.succeeded(1));
  EXPECT_TRUE(scheduler.all_ended());
}

TEST(Scheduler, RepeatsOnTheSameWorkerWhereItIsAlone) {
  Scheduler scheduler(one_group(1, 1, 0), 3);
  scheduler.add_worker(1);

  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto next = scheduler.next(1);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->attempt, attempt);
    EXPECT_EQ(scheduler.failed(1, true), attempt < 3 ? Verdict::kRetry : Verdict::kGivenUp);
  }
  EXPECT_TRUE(scheduler.all_ended());
}

TEST(Scheduler, QuarantinesAWorkerOnWhichEverythingCrashes) {
  Scheduler scheduler(one_group(20, 1, 0), 2);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(scheduler.quarantined(1));
    ASSERT_TRUE(scheduler.next(1));
    scheduler.failed(1, true);
  }

  EXPECT_TRUE(scheduler.quarantined(1));
  EXPECT_EQ(next_name(scheduler, 1), "none");
  EXPECT_NE(next_name(scheduler, 2), "none");
  scheduler.lost(2);
  EXPECT_NE(next_name(scheduler, 1), "none");  // the last one works on
}

TEST(Scheduler, DoesNotBlameWorkersForItemsThatCrashEverywhere) {
  Scheduler scheduler(one_group(10, 1, 0), 2);
  scheduler.add_worker(1);
  scheduler.add_worker(2);

  for (int i = 0; i < 5; ++i) {
    const auto next = scheduler.next(1);
    ASSERT_TRUE(next);
    scheduler.failed(1, true);
    while (true) {  // until the other worker gets that very item
      const auto other = scheduler.next(2);
      ASSERT_TRUE(other);
      if (other->item == next->item) {
        EXPECT_EQ(scheduler.failed(2, true), Verdict::kGivenUp);
        break;
      }
      scheduler.succeeded(2);
    }
  }

  EXPECT_FALSE(scheduler.quarantined(1));
  EXPECT_FALSE(scheduler.quarantined(2));
}

TEST(Scheduler, ExceptionsAreNoFaultOfTheWorker) {
  Scheduler scheduler(one_group(5, 1, 0), 1);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(scheduler.next(1));
    scheduler.failed(1, false);
  }

  EXPECT_FALSE(scheduler.quarantined(1));
}

TEST(Scheduler, TakesTheFirstOfTwoOutcomes) {
  Scheduler scheduler(one_group(1, 1, 0), 5);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  const size_t item = scheduler.next(1)->item;
  EXPECT_EQ(scheduler.lost(1), Verdict::kRetry);
  ASSERT_TRUE(scheduler.next(2));

  EXPECT_TRUE(scheduler.completed_late(item));

  EXPECT_FALSE(scheduler.completed_late(item));
  EXPECT_FALSE(scheduler.succeeded(2));
  EXPECT_TRUE(scheduler.all_ended());
}

std::vector<int> team_of(Scheduler& scheduler, int worker) {
  const auto next = scheduler.next(worker);
  std::vector<int> team;
  if (next) {
    team.push_back(worker);
    team.insert(team.end(), next->helpers.begin(), next->helpers.end());
  }
  return team;
}

// Two groups of `shards`, and one that needs no team, however costly.
Scheduler with_teams(int shards, int workers) {
  Scheduler scheduler(
      {{"a1", "a", 1, 9, shards}, {"a2", "a", 1, 9, shards}, {"b1", "b", 1, 5, shards}, {"c1", "c", 99, 99}},
      2);
  for (int worker = 1; worker <= workers; ++worker) {
    scheduler.add_worker(worker);
  }
  return scheduler;
}

TEST(Scheduler, OpensAGroupByATeam) {
  Scheduler scheduler = with_teams(3, 4);

  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2, 3}));

  EXPECT_EQ(scheduler.running(), 1);
  scheduler.helped(2);
  EXPECT_EQ(next_name(scheduler, 2), "a2");  // alone: it has what the team made
  EXPECT_EQ(scheduler.running(), 2);
}

TEST(Scheduler, KeepsIdleWorkersForTheNextTeam) {
  Scheduler scheduler = with_teams(3, 4);
  ASSERT_TRUE(scheduler.next(1));

  EXPECT_EQ(next_name(scheduler, 4), "none");  // not c1, which would take it for long
  scheduler.helped(2);
  scheduler.helped(3);
  ASSERT_TRUE(scheduler.next(2));  // a2
  EXPECT_EQ(next_name(scheduler, 3), "none");
  scheduler.succeeded(1);
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 3, 4}));
  scheduler.succeeded(2);
  EXPECT_EQ(next_name(scheduler, 2), "c1");
}

TEST(Scheduler, TakesNobodyWhoHasWorkOfItsOwnIntoATeam) {
  Scheduler scheduler({{"a1", "a", 1, 9, 2}, {"a2", "a", 1, 9, 2}, {"b1", "b", 1, 5, 2}}, 2);
  for (int worker = 1; worker <= 3; ++worker) {
    scheduler.add_worker(worker);
  }
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2}));
  scheduler.helped(2);

  EXPECT_EQ(next_name(scheduler, 3), "none");  // 2 is idle, but a2 is its own

  EXPECT_EQ(next_name(scheduler, 2), "a2");
}

TEST(Scheduler, AnItemFailsWithAnyMemberOfItsTeam) {
  Scheduler scheduler = with_teams(2, 4);
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2}));

  EXPECT_EQ(scheduler.failed(2, true), Verdict::kRetry);

  EXPECT_EQ(scheduler.item_of(1), std::nullopt);
  EXPECT_EQ(team_of(scheduler, 3), (std::vector<int>{3, 4}));  // 1 has yet to stop, on 2 it failed
  scheduler.released(1);
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2}));  // b1
  EXPECT_EQ(scheduler.lost(4), Verdict::kGivenUp);
  EXPECT_EQ(scheduler.failed(1, false), Verdict::kRetry);
}

TEST(Scheduler, TeamsShrinkWithTheirCluster) {
  Scheduler scheduler = with_teams(3, 3);
  scheduler.lost(2);

  EXPECT_EQ(next_name(scheduler, 1), "none");  // 2 may come back
  scheduler.limit_teams(2);
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 3}));
}

TEST(Scheduler, QuarantineLeavesEnoughForATeam) {
  std::vector<Item> items = one_group(9, 1, 1);
  for (Item& item : items) {
    item.group = item.name;
    item.shards = 2;
  }
  Scheduler scheduler(items, 1);
  scheduler.add_worker(1);
  scheduler.add_worker(2);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2}));
    scheduler.failed(2, true);
    scheduler.released(1);
  }

  EXPECT_TRUE(scheduler.quarantined(2));
  EXPECT_EQ(team_of(scheduler, 1), (std::vector<int>{1, 2}));
}

// A simulated campaign with random crashes, losses and returns; checks the promises on every step.
class RandomCampaign {
 public:
  explicit RandomCampaign(uint64_t seed)
      : random_(seed),
        workers_(below(9) + 1),
        most_shards_(below(2) == 0 ? 1 : below(5) + 1),
        max_attempts_(below(3) + 1),
        scheduler_(items(), max_attempts_) {
    ends_.resize(scheduler_.items().size());
    for (int worker = 1; worker <= workers_; ++worker) {
      scheduler_.add_worker(worker);
      here_.insert(worker);
    }
  }

  void run() {
    for (int step = 0; step < 20'000 && !scheduler_.all_ended(); ++step) {
      hand_out();
      ASSERT_FALSE(running_.empty()) << "items are left, but nobody works";
      end_one();
      maybe_return();
    }
    ASSERT_TRUE(scheduler_.all_ended());
    for (const int ends : ends_) {
      EXPECT_EQ(ends, 1);
    }
    EXPECT_EQ(scheduler_.cost_left(), 0);
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  std::vector<Item> items() {
    std::vector<Item> all;
    const int groups = below(12) + 1;
    for (int g = 0; g < groups; ++g) {
      const double first_step = below(50);
      const int size = below(8) + 1;
      const int shards = below(most_shards_) + 1;
      for (int i = 0; i < size; ++i) {
        all.push_back({"g" + std::to_string(g) + "/" + std::to_string(i), "g" + std::to_string(g),
                       static_cast<double>(below(20)), first_step, shards});
      }
    }
    std::shuffle(all.begin(), all.end(), random_);
    return all;
  }

  struct Run {
    size_t item = 0;
    bool helps = false, cancelled = false;
  };

  void hand_out() {
    scheduler_.limit_teams(static_cast<int>(here_.size()));
    for (const int worker : here_) {
      if (running_.contains(worker)) {
        continue;
      }
      if (const auto next = scheduler_.next(worker)) {
        for (const auto& [other, run] : running_) {
          ASSERT_TRUE(run.item != next->item || run.cancelled) << "two workers at one item";
        }
        ASSERT_LE(next->attempt, max_attempts_);
        ASSERT_EQ(ends_[next->item], 0);
        running_[worker] = {next->item};
        for (const int helper : next->helpers) {
          ASSERT_TRUE(here_.contains(helper) && !running_.contains(helper)) << "a helper is not idle";
          running_[helper] = {next->item, true};
        }
      }
    }
  }

  void end_one() {
    auto chosen = std::next(running_.begin(), below(static_cast<int>(running_.size())));
    const int worker = chosen->first;
    const Run run = chosen->second;
    running_.erase(chosen);
    const int fate = below(10);
    std::optional<Verdict> verdict;
    if (fate == 9 && here_.size() > 1) {
      verdict = scheduler_.lost(worker);
      here_.erase(worker);
    } else if (run.cancelled) {
      scheduler_.released(worker);
    } else if (fate < 6 && run.helps) {
      scheduler_.helped(worker);
    } else if (fate < 6) {
      ends_[run.item] += scheduler_.succeeded(worker);
    } else {
      verdict = scheduler_.failed(worker, below(2) == 0);
    }
    ends_[run.item] += verdict == Verdict::kGivenUp;
    for (auto& [other, theirs] : running_) {
      theirs.cancelled |= verdict && theirs.item == run.item;
    }
  }

  void maybe_return() {
    const int worker = below(workers_) + 1;
    if (below(5) == 0 && here_.insert(worker).second) {
      scheduler_.add_worker(worker);
    }
  }

  std::mt19937_64 random_;
  int workers_, most_shards_, max_attempts_;
  Scheduler scheduler_;
  std::vector<int> ends_;
  std::map<int, Run> running_;
  std::set<int> here_;
};

TEST(Scheduler, KeepsItsPromisesInRandomCampaigns) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomCampaign(seed).run();
    if (testing::Test::HasFatalFailure()) {
      return;
    }
  }
}

// Seconds until all is done, where the estimates are right and a worker pays the first step of each group
// that it comes to.
double makespan(const std::vector<Item>& items, int workers) {
  Scheduler scheduler(items, 1);
  std::map<int, std::string> at;
  std::priority_queue<std::pair<double, int>, std::vector<std::pair<double, int>>, std::greater<>> ends;
  std::set<int> idle;
  for (int worker = 1; worker <= workers; ++worker) {
    scheduler.add_worker(worker);
    idle.insert(worker);
  }
  double now = 0;
  while (true) {
    for (auto worker = idle.begin(); worker != idle.end();) {
      const auto next = scheduler.next(*worker);
      if (!next) {
        ++worker;
        continue;
      }
      const Item& item = items[next->item];
      const double first = std::exchange(at[*worker], item.group) == item.group ? 0 : item.group_cost_s;
      ends.emplace(now + first + item.cost_s, *worker);
      worker = idle.erase(worker);
    }
    if (ends.empty()) {
      EXPECT_TRUE(scheduler.all_ended());
      return now;
    }
    const auto [end, worker] = ends.top();
    ends.pop();
    now = end;
    scheduler.succeeded(worker);
    idle.insert(worker);
  }
}

TEST(Scheduler, ComesNearTheLowerBound) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> spread(0, 0.8);
  std::vector<Item> items;
  for (int group = 0; group < 100; ++group) {
    const double first_step = 5 * spread(random);
    for (int task = 0; task < 8; ++task) {
      const std::string name = std::to_string(group);
      items.push_back({name + "/" + std::to_string(task), name, spread(random), first_step});
    }
  }
  std::map<std::string, double> first_steps;
  double work = 0;
  for (const Item& item : items) {
    work += item.cost_s;
    first_steps[item.group] = item.group_cost_s;
  }
  for (const auto& [group, cost] : first_steps) {
    work += cost;
  }

  for (const int workers : {1, 8, 16}) {
    EXPECT_LE(makespan(items, workers), 1.06 * work / workers) << workers << " workers";
  }
}

}  // namespace
}  // namespace fusegrid
