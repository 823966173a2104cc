#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/faulty_executor.h"
#include "worker/executor_handle.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

HandleOptions options(milliseconds stall = milliseconds(20'000)) {
  HandleOptions o;
  o.start = {"faulty", nullptr, "cpu", 1, 20};
  o.stall_timeout = stall;
  return o;
}

Outcome outcome_of(ExecutorHandle& executor) {
  const auto deadline = steady_clock::now() + std::chrono::seconds(30);
  while (steady_clock::now() < deadline) {
    if (auto outcome = executor.wait(milliseconds(1))) {
      return *outcome;
    }
  }
  return Failure{"test", "no outcome within 30 s", ""};
}

Outcome run(ExecutorHandle& executor, const std::string& item) {
  executor.start({item});
  return outcome_of(executor);
}

Failure failure_of(ExecutorHandle& executor, const std::string& item) {
  const Outcome outcome = run(executor, item);
  const auto* failure = std::get_if<Failure>(&outcome);
  return failure ? *failure : Failure{"none", "it succeeded", ""};
}

// The process that ran `item`; "" where it failed.
std::string pid_of(ExecutorHandle& executor, const std::string& item = "ok") {
  const Outcome outcome = run(executor, item);
  const auto* result = std::get_if<Result>(&outcome);
  return result ? result->facts.at("pid") : "";
}

TEST(ChildExecutor, RunsItemsInOneOtherProcess) {
  const auto executor = child_executor(options());

  const std::string first = pid_of(*executor, "ok-1");

  EXPECT_NE(first, "");
  EXPECT_NE(first, std::to_string(getpid()));
  EXPECT_EQ(pid_of(*executor, "ok-2"), first);
}

struct Deed {
  std::string item, kind, message;
  bool new_process;
};

std::ostream& operator<<(std::ostream& out, const Deed& deed) {
  return out << deed.item;
}

class ChildExecutorFaults : public testing::TestWithParam<Deed> {};

TEST_P(ChildExecutorFaults, CostTheAttemptOnly) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer needs more address space than the limit, and takes the signals";
#endif
  HandleOptions limited = options(milliseconds(300));
  limited.child.memory_limit_bytes = int64_t{24} << 30;  // more than LibTorch maps, less than the hog wants
  const auto executor = child_executor(limited);
  const std::string before = pid_of(*executor);
  ASSERT_NE(before, "");

  const Failure failure = failure_of(*executor, GetParam().item);

  EXPECT_EQ(failure.kind, GetParam().kind) << failure.message;
  EXPECT_THAT(failure.message, HasSubstr(GetParam().message));
  const std::string after = pid_of(*executor);
  EXPECT_NE(after, "");
  EXPECT_EQ(after != before, GetParam().new_process);
}

INSTANTIATE_TEST_SUITE_P(All, ChildExecutorFaults,
                         testing::Values(Deed{"segfault", "signal", "signal 11 (SIGSEGV)", true},
                                         Deed{"abort", "signal", "signal 6 (SIGABRT)", true},
                                         Deed{"exit3", "exit", "exit code 3", true},
                                         Deed{"throw", "exception", "not to my liking", false},
                                         Deed{"throwint", "exception", "no std::exception", false},
                                         Deed{"badalloc", "memory", "out of memory", true},
                                         Deed{"hog", "memory", "out of memory", true},
                                         Deed{"diskfull", "io", "the disk is full", true},
                                         Deed{"vanished", "input", "is gone", true},
                                         Deed{"stopself", "stall", "no progress for 0.3 s", true},
                                         Deed{"hang", "stall", "no progress for 0.3 s", true},
                                         Deed{"garbage", "protocol", "nonsense", true},
                                         Deed{"print", "exception", "printed enough", false}),
                         [](const auto& deed) { return deed.param.item; });

TEST(ChildExecutor, IsNotKilledForBeingSlow) {
  const auto executor = child_executor(options(milliseconds(300)));

  EXPECT_NE(pid_of(*executor, "slow"), "");  // takes 1 s
}

TEST(ChildExecutor, DyingWhileIdleIsNoItemsFault) {
  const auto executor = child_executor(options());
  const int first = std::stoi(pid_of(*executor));
  kill(first, SIGKILL);
  siginfo_t end;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(first), &end, WEXITED | WNOWAIT),
            0);  // dead, for the handle to reap

  const std::string second = pid_of(*executor);

  EXPECT_NE(second, "");
  EXPECT_NE(second, std::to_string(first));
}

TEST(ChildExecutor, TellsTheEndOfTheItemsLog) {
  const auto executor = child_executor(options());
  EXPECT_THAT(failure_of(*executor, "print").log_tail, HasSubstr("the last line"));
  EXPECT_LE(failure_of(*executor, "print").log_tail.size(), 4096U);

  const Failure failure = failure_of(*executor, "abort");

  EXPECT_THAT(failure.log_tail, HasSubstr("about to abort"));
  EXPECT_THAT(failure.log_tail, testing::Not(HasSubstr("the last line")));
}

TEST(ChildExecutor, WritesALogFileOfLimitedSize) {
  HandleOptions with_log = options();
  with_log.log_file = std::filesystem::path(testing::TempDir()) / ("log-" + std::to_string(getpid()));
  {
    const auto executor = child_executor(with_log);
    failure_of(*executor, "abort");
    failure_of(*executor, "print");
    failure_of(*executor, "print");
  }

  std::ifstream in(with_log.log_file);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_THAT(text.substr(0, 1000), HasSubstr("=== abort\nabout to abort"));
  EXPECT_THAT(text.substr(text.size() - 200), HasSubstr("nothing more is written"));
  EXPECT_LT(text.size(), (16U << 20) + 200);
  EXPECT_GT(text.size(), 15U << 20);
  std::filesystem::remove(with_log.log_file);
}

TEST(ChildExecutor, LeavesNoProcessBehind) {
  std::string pid;
  {
    const auto executor = child_executor(options());
    pid = pid_of(*executor);
    executor->start({"hang"});
    executor->wait(milliseconds(50));
  }

  EXPECT_EQ(kill(std::stoi(pid), 0), -1);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // no zombie either
}

// Whether the process lives: the dead that wait for init do not.
bool lives(int process) {
  std::ifstream stat("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  return std::getline(stat, text) && text.find(") Z") == std::string::npos;
}

TEST(ChildExecutor, WhatItHasStartedEndsWithIt) {
  const auto executor = child_executor(options());
  const Failure failure = failure_of(*executor, "orphan");
  ASSERT_EQ(failure.kind, "exit");
  const size_t at = failure.log_tail.find("orphan ");
  ASSERT_NE(at, std::string::npos) << failure.log_tail;
  const int orphan = std::stoi(failure.log_tail.substr(at + 7));
  for (int i = 0; i < 100 && lives(orphan); ++i) {
    usleep(10'000);
  }
  EXPECT_FALSE(lives(orphan));
}

TEST(ChildExecutor, FailsTheItemWhereItsProgramIsMissing) {
  HandleOptions wrong = options();
  wrong.child.executable = "/nonexistent/program";

  const Failure failure = failure_of(*child_executor(wrong), "ok");

  EXPECT_EQ(failure.kind, "exit");
  EXPECT_THAT(failure.log_tail, HasSubstr("cannot be started"));
}

TEST(ChildExecutor, EndsAtOnceWhereItsTeamFails) {
  std::vector<int> receivers;
  HandleOptions with_relay = options();
  with_relay.relay = [&](int member, const std::string&) { receivers.push_back(member); };
  const auto executor = child_executor(with_relay);
  const std::string before = pid_of(*executor);
  executor->start({"ok-1", 1, 1, 2});  // member 1 of 2: tells member 0 that it is there, and waits for it
  while (receivers.empty()) {
    ASSERT_FALSE(executor->wait(milliseconds(10)));
  }

  executor->cancel();

  const auto outcome = executor->wait(milliseconds(0));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(std::get<Failure>(*outcome).kind, "cancelled");
  EXPECT_EQ(receivers, std::vector<int>{0});
  const std::string after = pid_of(*executor);
  EXPECT_NE(after, "");
  EXPECT_NE(after, before);
}

TEST(ChildExecutor, FailsTheItemOfAnUnknownKind) {
  HandleOptions wrong = options();
  wrong.start.kind = "fautly";

  EXPECT_THAT(failure_of(*child_executor(wrong), "ok").message, HasSubstr("did you mean 'faulty'?"));
}

TEST(ExecutorEnvironment, HoldsNothingOfTheLauncher) {
  ChildOptions child;
  child.threads = 3;
  child.visible_gpus = "2";

  const auto entries = executor_environment(
      {"PATH=/bin", "OMPI_COMM_WORLD_RANK=1", "PMIX_RANK=1", "SLURM_JOB_ID=7", "OMP_NUM_THREADS=64",
       "CUDA_VISIBLE_DEVICES=0,1,2", "CUDA_DEVICE_ORDER=FASTEST_FIRST", "PRTE_X=1", "PMI_RANK=0"},
      child);

  EXPECT_THAT(entries, testing::UnorderedElementsAre("PATH=/bin", "OMP_NUM_THREADS=3", "MKL_NUM_THREADS=3",
                                                     "OPENBLAS_NUM_THREADS=3", "OMP_WAIT_POLICY=passive",
                                                     "GOMP_SPINCOUNT=0", "CUDA_VISIBLE_DEVICES=2",
                                                     "CUDA_DEVICE_ORDER=FASTEST_FIRST"));
}

TEST(InlineExecutor, RunsInThisProcessAndSurvivesExceptions) {
  const auto executor = inline_executor(options());

  EXPECT_EQ(pid_of(*executor), std::to_string(getpid()));
  EXPECT_EQ(failure_of(*executor, "throw").kind, "exception");
  EXPECT_EQ(pid_of(*executor), std::to_string(getpid()));
}

TEST(InlineExecutor, TellsOfAnItemThatStandsStillAndLetsItGoOn) {
  const auto executor = inline_executor(options(milliseconds(20)));

  testing::internal::CaptureStderr();
  const std::string first = pid_of(*executor, "slow-1");  // its progress stands still for 50 ms at a time
  const std::string told = testing::internal::GetCapturedStderr();

  EXPECT_EQ(first, std::to_string(getpid()));
  EXPECT_THAT(told, HasSubstr("slow-1 has made no progress for 0.02 s in process " + first));
  EXPECT_EQ(told.find("slow-1"), told.rfind("slow-1")) << "once is enough";
}

TEST(InlineExecutor, IsNotToldToStandStillForBeingSlow) {
  const auto executor = inline_executor(options(milliseconds(700)));

  testing::internal::CaptureStderr();
  EXPECT_NE(pid_of(*executor, "slow"), "");  // takes 1 s

  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Executors, OpenTheCpuWithoutAnItem) {
  for (const auto make : {child_executor, inline_executor}) {
    const auto executor = make(options());
    executor->open();
    const Outcome outcome = outcome_of(*executor);

    ASSERT_TRUE(std::holds_alternative<Result>(outcome));
    EXPECT_EQ(std::get<Result>(outcome).name, "");
    EXPECT_NE(pid_of(*executor), "");
  }
}

// What a broken driver looks like: the kernel lists a GPU, CUDA finds none.
TEST(Executors, TellThatTheDeviceCannotBeOpened) {
  setenv("CUDA_VISIBLE_DEVICES", "GPU-none", 1);
  for (const auto make : {child_executor, inline_executor}) {
    HandleOptions broken = options();
    broken.start.device = "cuda:0";
    broken.child.visible_gpus = "GPU-none";
    const auto executor = make(broken);
    executor->open();
    const Outcome outcome = outcome_of(*executor);

    const auto* failure = std::get_if<Failure>(&outcome);
    ASSERT_NE(failure, nullptr);
    EXPECT_EQ(failure->kind, "device");
    EXPECT_THAT(failure->message, HasSubstr("--device cpu"));
  }
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(ChildExecutor, TellsThatItDiedBeforeItWasOpen) {
  HandleOptions wrong = options();
  wrong.child.executable = "/bin/false";
  const auto executor = child_executor(wrong);

  executor->open();
  const Outcome outcome = outcome_of(*executor);

  const auto* failure = std::get_if<Failure>(&outcome);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->message, "exit code 1");
}

}  // namespace
}  // namespace fusegrid
