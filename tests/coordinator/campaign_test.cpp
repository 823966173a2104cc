#include "coordinator/campaign.h"

#include <thread>

#include <ATen/Version.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "support/fake_store.h"
#include "support/faulty_executor.h"
#include "support/faulty_transport.h"
#include "support/temporary_folder.h"
#include "worker/protocol.h"
#include "worker/supervisor.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

CampaignOptions options() {
  CampaignOptions o;
  o.executor_kind = "faulty";
  o.device = "cpu";
  o.inline_executor = true;
  o.quiet = true;
  o.ping_every = milliseconds(20);
  o.silence_limit = milliseconds(5000);
  return o;
}

std::vector<Item> items(const std::string& deed, int count, const std::string& group = "") {
  std::vector<Item> all;
  for (int i = 0; i < count; ++i) {
    const std::string name = deed + "-" + std::to_string(i);
    all.push_back({name, group.empty() ? name : group, 1, 0});
  }
  return all;
}

// `groups` groups of four items that teams open.
std::vector<Item> shared_items(const std::string& deed, int groups, int shards) {
  std::vector<Item> all;
  for (int i = 0; i < 4 * groups; ++i) {
    const std::string group = deed + "-" + std::to_string(i / 4);
    all.push_back({group + "-" + std::to_string(i), group, 1, 1, shards});
  }
  return all;
}

// Worker ranks as threads; `faults` are those of each worker's sending and of the coordinator's.
class Cluster {
 public:
  explicit Cluster(int workers, std::map<int, Faults> faults = {}, uint64_t seed = 1,
                   const HostDevices& host = HostDevices::here()) {
    worker_.host = host;
    auto ends = in_process_transports(workers + 1);
    for (int rank = 0; rank <= workers; ++rank) {
      ends_.push_back(std::make_unique<FaultyTransport>(std::move(ends[rank]), faults[rank],
                                                        seed * 1000 + static_cast<uint64_t>(rank)));
    }
    for (int rank = 1; rank <= workers; ++rank) {
      threads_.emplace_back([this, rank] { run_worker(*ends_[rank], worker_); });
    }
  }
  ~Cluster() {
    for (int i = 0; i < 200; ++i) {  // it may get lost like any other message
      stop_workers(*ends_[0]);
    }
    ends_[0]->receive(milliseconds(100));  // lets delayed messages go
    for (auto& thread : threads_) {
      thread.join();
    }
  }
  Transport& coordinator() { return *ends_[0]; }

 private:
  WorkerOptions worker_;
  std::vector<std::unique_ptr<FaultyTransport>> ends_;
  std::vector<std::thread> threads_;
};

void expect_each_recorded_once(const FakeStore& store, const std::vector<Item>& all) {
  EXPECT_EQ(store.times_recorded.size(), all.size());
  for (const Item& item : all) {
    const auto found = store.times_recorded.find(item.name);
    EXPECT_EQ(found == store.times_recorded.end() ? 0 : found->second, 1) << item.name;
  }
  EXPECT_FALSE(store.dirty);
  EXPECT_FALSE(store.published_dirty);
}

TEST(Campaign, RunsEverythingOnce) {
  FakeStore store;
  Cluster cluster(3);
  const auto all = items("ok", 200);

  const auto report = run_campaign(cluster.coordinator(), store, all, options());

  EXPECT_EQ(report.valid, 200);
  EXPECT_EQ(report.exit_code(), ExitCode::kOk);
  expect_each_recorded_once(store, all);
  EXPECT_EQ(store.publications, 1);
  EXPECT_LT(store.flushes, 200);  // shared
  EXPECT_THAT(store.results().at("ok-0").worker, HasSubstr("cpu"));
  EXPECT_EQ(store.results().at("ok-0").attempts, 1);
}

TEST(Campaign, TellsKindsOfDevicesApart) {
  FakeStore store;
  Cluster cluster(2);
  testing::internal::CaptureStderr();
  run_campaign(cluster.coordinator(), store, items("ok", 4), options());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::Not(HasSubstr("several kinds")));
  const std::string here = store.results().at("ok-0").facts.at("device");
  EXPECT_THAT(here, testing::EndsWith(at::get_cpu_capability()));

  Result elsewhere;
  elsewhere.name = "ok-9";
  elsewhere.facts["device"] = "Another CPU, AVX2";
  store.record(elsewhere);
  testing::internal::CaptureStderr();
  run_campaign(cluster.coordinator(), store, items("ok", 8), options());
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::AllOf(HasSubstr("several kinds"), HasSubstr(here), HasSubstr("Another CPU, AVX2")));
}

TEST(Campaign, NeedsNoSecondRankAndNoItems) {
  FakeStore store;
  const auto alone = in_process_transports(1);

  EXPECT_EQ(run_campaign(*alone[0], store, items("ok", 20), options()).valid, 20);
  EXPECT_EQ(run_campaign(*alone[0], store, {}, options()).exit_code(), ExitCode::kOk);
}

// An earlier launch may have been kept from it.
TEST(Campaign, PublishesWhereNothingIsLeft) {
  FakeStore store;
  Cluster cluster(2);
  const auto report = run_campaign(cluster.coordinator(), store, {}, options());
  EXPECT_EQ(report.exit_code(), ExitCode::kOk);
  EXPECT_EQ(store.publications, 1);
}

// True of all items, hence told once, with the exit code that it has.
TEST(Campaign, EndsWhereAnInputIsGoneOrAnotherOne) {
  for (const auto& [deed, code] :
       {std::pair{"vanished", ExitCode::kIo}, std::pair{"exchanged", ExitCode::kDataCorrupt}}) {
    FakeStore store;
    Cluster cluster(2);
    auto all = items("short", 3);
    const auto bad = items(deed, 50);
    all.insert(all.end(), bad.begin(), bad.end());
    try {
      run_campaign(cluster.coordinator(), store, all, options());
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("'zoos/toy/model'"), HasSubstr("(seen by rank "),
                                               HasSubstr("the same command")));
    }
    for (const auto& [name, result] : store.results()) {
      EXPECT_EQ(result.status, Status::kValid) << name;
    }
    EXPECT_EQ(store.publications, 1);
    EXPECT_FALSE(store.dirty);
    const auto report = run_campaign(cluster.coordinator(), store, items("ok", 5), options());
    EXPECT_EQ(report.valid, 5);  // the workers are at rest, and serve the next one
  }
}

TEST(Campaign, RecordsWhetherAFailureWasTheItemsOwn) {
  FakeStore store;
  Cluster cluster(2);
  auto all = items("throw", 1);
  for (const char* deed : {"badalloc", "diskfull"}) {
    all.push_back(items(deed, 1).front());
  }
  all.front().bindings = {{"parameters", "scale=0.3"}};
  run_campaign(cluster.coordinator(), store, all, options());
  EXPECT_FALSE(store.results().at("throw-0").transient);
  EXPECT_EQ(store.results().at("throw-0").bindings, all.front().bindings);
  EXPECT_TRUE(store.results().at("badalloc-0").transient);
  EXPECT_TRUE(store.results().at("diskfull-0").transient);
}

TEST(Campaign, RecordsTheBindingsOfAnItemWithItsResult) {
  FakeStore store;
  Cluster cluster(1);
  auto all = items("ok", 2);
  all[0].bindings = {{"parameters", "scale=0.3"}};
  run_campaign(cluster.coordinator(), store, all, options());
  EXPECT_EQ(store.results().at("ok-0").bindings, all[0].bindings);
  EXPECT_TRUE(store.results().at("ok-1").bindings.empty());
}

TEST(Campaign, ShowsEachResultToAJudgeBeforeItIsRecorded) {
  Cluster cluster(1);
  FakeStore store;
  CampaignOptions with_judge = options();
  with_judge.judge = [](Result& result) {
    if (result.name == "ok-1") {
      result.status = Status::kInvalid;
      result.reason = "odd";
    }
  };
  const CampaignReport report = run_campaign(cluster.coordinator(), store, items("ok", 3), with_judge);
  EXPECT_EQ(report.valid, 2);
  EXPECT_EQ(report.invalid, 1);
  EXPECT_EQ(store.records().results.at("ok-1").reason, "odd");
}

TEST(Campaign, ServesOneAfterTheOther) {
  FakeStore store;
  Cluster cluster(4);

  EXPECT_EQ(run_campaign(cluster.coordinator(), store, items("ok", 3), options()).valid,
            3);  // fewer than ranks
  EXPECT_EQ(run_campaign(cluster.coordinator(), store, items("short", 40), options()).valid, 40);
}

TEST(Campaign, RetriesElsewhereThenFailsTheItemOnly) {
  FakeStore store;
  Cluster cluster(2);
  auto all = items("ok", 10);
  all.push_back({"throw-1", "x", 5, 0});

  const auto report = run_campaign(cluster.coordinator(), store, all, options());

  EXPECT_EQ(report.valid, 10);
  EXPECT_EQ(report.failed, 1);
  EXPECT_EQ(report.exit_code(), ExitCode::kCellsFailed);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_THAT(report.failures[0],
              testing::AllOf(HasSubstr("throw-1: exception: the model"), HasSubstr("attempt 2 of 2"),
                             HasSubstr("--only '^throw-1$'")));
  const Result& failed = store.results().at("throw-1");
  EXPECT_EQ(failed.status, Status::kFailed);
  EXPECT_EQ(failed.attempts, 2);
  expect_each_recorded_once(store, all);
}

TEST(Campaign, SurvivesExecutorsThatCrash) {
  FakeStore store;
  Cluster cluster(2);
  auto all = items("ok", 20);
  all.push_back({"segfault-1", "a", 9, 0});
  all.push_back({"hang-1", "b", 8, 0});
  all.push_back({"garbage-1", "c", 7, 0});
  CampaignOptions with_children = options();
  with_children.inline_executor = false;
  with_children.stall_timeout = milliseconds(300);

  const auto report = run_campaign(cluster.coordinator(), store, all, with_children);

  EXPECT_EQ(report.valid, 20);
  EXPECT_EQ(report.failed, 3);
  EXPECT_EQ(store.results().at("segfault-1").reason, "signal 11 (SIGSEGV)");
  EXPECT_THAT(store.results().at("hang-1").reason, HasSubstr("no progress"));
  expect_each_recorded_once(store, all);
}

TEST(Campaign, OpensGroupsByTeams) {
  FakeStore store;
  Cluster cluster(5);
  auto all = shared_items("ok", 12, 3);
  const auto alone = items("short", 10);
  all.insert(all.end(), alone.begin(), alone.end());

  const auto report = run_campaign(cluster.coordinator(), store, all, options());

  EXPECT_EQ(report.valid, 58);
  expect_each_recorded_once(store, all);
  const auto in_team = [](const auto& entry) {
    return entry.second.worker.find(", in the team of ranks ") != std::string::npos &&
           entry.second.facts.at("team") == "3";
  };
  const auto& results = store.results();
  EXPECT_EQ(std::count_if(results.begin(), results.end(), in_team), 12);
}

TEST(Campaign, TeamsAreNoLargerThanTheCluster) {
  FakeStore store;
  Cluster cluster(2);

  EXPECT_EQ(run_campaign(cluster.coordinator(), store, shared_items("ok", 3, 7), options()).valid, 12);
}

TEST(Campaign, CrashOfAMemberCostsTheAttemptOnly) {
  FakeStore store;
  Cluster cluster(4);
  auto all = shared_items("ok", 6, 3);
  all.push_back({"teamdie-1", "a", 9, 9, 3});
  all.push_back({"teamthrow-1", "b", 8, 8, 2});
  CampaignOptions with_children = options();
  with_children.inline_executor = false;

  const auto report = run_campaign(cluster.coordinator(), store, all, with_children);

  EXPECT_EQ(report.valid, 24);
  EXPECT_EQ(report.failed, 2);
  EXPECT_EQ(report.exit_code(), ExitCode::kCellsFailed);
  EXPECT_THAT(report.failures,
              testing::UnorderedElementsAre(testing::AllOf(HasSubstr("signal 9"), HasSubstr("attempt 2 of 2"),
                                                           HasSubstr("in the team of")),
                                            HasSubstr("member 1 does not like it")));
  expect_each_recorded_once(store, all);
}

TEST(Campaign, InlineTeamsEndWithTheirMembers) {
  FakeStore store;
  Cluster cluster(3);
  auto all = shared_items("ok", 3, 3);
  all.push_back({"teamthrow-1", "b", 8, 8, 3});

  const auto report = run_campaign(cluster.coordinator(), store, all, options());

  EXPECT_EQ(report.valid, 12);
  EXPECT_EQ(report.failed, 1);
  expect_each_recorded_once(store, all);
}

TEST(Campaign, TeamsDoNotMindRepeatedAndLateMessages) {
  FakeStore store;
  const Faults faults{0, 0.1, 0.2, milliseconds(5), -1};
  Cluster cluster(3, {{0, faults}, {1, faults}, {2, faults}, {3, faults}});
  const auto all = shared_items("ok", 8, 2);

  EXPECT_EQ(run_campaign(cluster.coordinator(), store, all, options()).valid, 32);
  expect_each_recorded_once(store, all);
}

TEST(Campaign, TeamsOutliveAMember) {
  FakeStore store;
  Cluster cluster(3, {{2, Faults{0, 0, 0, milliseconds(1), 12}}});
  const auto all = shared_items("short", 8, 3);
  CampaignOptions impatient = options();
  impatient.silence_limit = milliseconds(300);

  EXPECT_EQ(run_campaign(cluster.coordinator(), store, all, impatient).valid, 32);
  expect_each_recorded_once(store, all);
}

class LossyCampaign : public testing::TestWithParam<int> {};

TEST_P(LossyCampaign, RecordsEachResultOnceWhateverMessagesDo) {
  FakeStore store;
  const Faults faults{0.1, 0.1, 0.2, milliseconds(30), -1};
  Cluster cluster(3, {{0, faults}, {1, faults}, {2, faults}, {3, faults}}, static_cast<uint64_t>(GetParam()));
  const auto all = items("ok", 60);

  const auto report = run_campaign(cluster.coordinator(), store, all, options());

  EXPECT_EQ(report.valid, 60);
  expect_each_recorded_once(store, all);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LossyCampaign, testing::Range(0, 6));

TEST(Campaign, GivesTheItemOfADeadWorkerToAnother) {
  FakeStore store;
  Cluster cluster(3, {{2, Faults{0, 0, 0, milliseconds(1), 5}}});
  const auto all = items("short", 60);
  CampaignOptions impatient = options();
  impatient.silence_limit = milliseconds(300);

  const auto report = run_campaign(cluster.coordinator(), store, all, impatient);

  EXPECT_EQ(report.valid, 60);
  expect_each_recorded_once(store, all);
}

TEST(Campaign, StopsWhereNoWorkerAnswers) {
  FakeStore store;
  const Faults dies{0, 0, 0, milliseconds(1), 4};
  Cluster cluster(2, {{1, dies}, {2, dies}});
  CampaignOptions impatient = options();
  impatient.silence_limit = milliseconds(200);

  const auto report = run_campaign(cluster.coordinator(), store, items("short", 60), impatient);

  EXPECT_EQ(report.exit_code(), ExitCode::kStopped);
  EXPECT_GT(report.not_run, 0);
  EXPECT_GT(report.valid, 0);
}

TEST(Campaign, WorkerEndsWhereTheCoordinatorIsSilent) {
  auto ends = in_process_transports(2);
  const auto start = steady_clock::now();
  std::thread worker([&] { run_worker(*ends[1]); });

  WorkerSettings settings;
  settings.epoch = 1;
  settings.device = "cpu";
  settings.silence_limit_ms = 200;
  ends[0]->send(1, encode(ToWorker(Begin{settings})));

  worker.join();  // without any Stop
  EXPECT_GE(steady_clock::now() - start, milliseconds(200));
}

void expect_stop(int signal, const std::string& deed, int64_t at_least) {
  FakeStore store;
  Cluster cluster(2);
  store.on_record = [&] {
    if (store.results().size() == 1) {
      kill(getpid(), signal);
    }
  };

  const auto report = run_campaign(cluster.coordinator(), store, items(deed, 4000), options());

  EXPECT_EQ(report.exit_code(), ExitCode::kStopped);
  EXPECT_GE(report.valid, at_least);
  EXPECT_EQ(report.valid + report.not_run, 4000);
  EXPECT_GT(report.not_run, 3900);
  EXPECT_EQ(static_cast<int64_t>(store.results().size()), report.valid);
  EXPECT_FALSE(store.dirty);
  EXPECT_EQ(store.publications, 1);
}

TEST(Campaign, StopsOnSigterm) {
  expect_stop(SIGTERM, "short", 1);
}
TEST(Campaign, StopsOnSigint) {
  expect_stop(SIGINT, "short", 1);
}
TEST(Campaign, LetsRunningItemsFinishOnSigusr1) {
  expect_stop(SIGUSR1, "slow", 2);  // that of the other worker runs when the first is recorded
}

TEST(Campaign, EndsWhereTheDiskIsFull) {
  FakeStore store;
  store.room = 5;
  Cluster cluster(2);

  EXPECT_THROW(run_campaign(cluster.coordinator(), store, items("short", 100), options()), IoError);

  EXPECT_EQ(store.results().size(), 5U);
}

TEST(Campaign, RefusesBeforeWorkBegins) {
  FakeStore store;
  HostDevices without_gpus;
  without_gpus.visible = "";
  Cluster cluster(1, {}, 1, without_gpus);
  CampaignOptions wrong = options();
  wrong.executor_kind = "nul";
  EXPECT_THROW(run_campaign(cluster.coordinator(), store, items("ok", 1), wrong), ConfigError);
  wrong = options();
  wrong.max_attempts = 0;
  EXPECT_THROW(run_campaign(cluster.coordinator(), store, items("ok", 1), wrong), ConfigError);
  EXPECT_THROW(run_campaign(cluster.coordinator(), store, {{"a", "", 1, 0}, {"a", "", 1, 0}}, options()),
               ConfigError);
  wrong = options();
  wrong.device = "cuda";
  EXPECT_THROW(run_campaign(cluster.coordinator(), store, items("ok", 1), wrong), DeviceError);
  EXPECT_TRUE(store.results().empty());
}

// A worker that opens its device for longer than a silent one is waited for, and then cannot use it.
TEST(Campaign, WaitsForDevicesThatAreBeingOpened) {
  auto ends = in_process_transports(3);
  std::thread good([&] { run_worker(*ends[1]); });
  std::thread broken([&, start = steady_clock::now()] {
    while (const auto message = ends[2]->receive(milliseconds(20'000))) {
      const auto order = decode_to_worker(message->bytes);
      if (const auto* begin = std::get_if<Begin>(&order)) {
        const bool opening = steady_clock::now() - start < milliseconds(600);
        ends[2]->send(
            0, opening
                   ? encode(ToCoordinator(Pong{begin->settings.epoch, 0}))
                   : encode(ToCoordinator(Hello{begin->settings.epoch, "h", "gpu", "", "it is broken", ""})));
      } else if (const auto* stop = std::get_if<Stop>(&order)) {
        ends[2]->send(0, encode(ToCoordinator(Bye{stop->epoch})));
        if (stop->epoch == 0) {
          return;
        }
      }
    }
  });
  FakeStore store;
  CampaignOptions impatient = options();
  impatient.silence_limit = milliseconds(200);

  EXPECT_EQ(message_of<DeviceError>([&] { run_campaign(*ends[0], store, items("ok", 4), impatient); }),
            "it is broken");

  stop_workers(*ends[0]);
  good.join();
  broken.join();
  EXPECT_TRUE(store.results().empty());
}

}  // namespace
}  // namespace fusegrid
