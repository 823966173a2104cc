#include <condition_variable>
#include <functional>
#include <iostream>
#include <mutex>
#include <thread>

#include <unistd.h>

#include "core/errors.h"
#include "core/text.h"
#include "worker/executor_handle.h"
#include "worker/thread_channel.h"

namespace fusegrid {
namespace {

class InlineExecutor : public ExecutorHandle {
 public:
  explicit InlineExecutor(HandleOptions options)
      : runner_(std::move(options.start)),
        relay_(std::move(options.relay)),
        stall_timeout_(options.stall_timeout) {}

  ~InlineExecutor() override {
    if (team_) {
      team_->cancel();
    }
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void open() override {
    hand_over([this] { return runner_.open(); }, "the start of the executor");
  }

  void start(const ExecutorRun& run) override {
    team_.reset();
    if (run.members > 1) {
      team_ = std::make_shared<ThreadChannel>(run.member, run.members, runner_.progress());
    }
    hand_over([this, run, team = team_] { return runner_.run(run, team.get()); }, run.item);
  }

  std::optional<Outcome> wait(std::chrono::microseconds timeout) override {
    std::optional<Outcome> outcome;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, timeout, [this] { return outcome_.has_value(); });
      outcome = std::exchange(outcome_, std::nullopt);
    }
    if (team_) {
      for (auto& [member, bytes] : team_->take_sent()) {
        relay_(member, std::move(bytes));
      }
    }
    if (!outcome) {
      warn_of_stall();
    }
    return outcome;
  }

  void deliver(int member, std::string bytes) override {
    if (team_) {
      team_->deliver(member, std::move(bytes));
    }
  }

  void cancel() override {
    if (team_) {
      team_->cancel();
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  void hand_over(std::function<Outcome()> work, const std::string& name) {
    if (!thread_.joinable()) {
      thread_ = std::thread([this] { serve(); });
    }
    name_ = name;
    warned_ = false;
    last_progress_ = Clock::now();
    {
      const std::lock_guard lock(mutex_);
      FUSEGRID_ASSERT(!work_ && !outcome_, "an item is running");
      work_ = std::move(work);
    }
    changed_.notify_all();
  }

  // Nothing can end a thread, and whoever steps through an item in a debugger would not want it: so it is only told.
  void warn_of_stall() {
    const auto now = Clock::now();
    if (const uint64_t count = runner_.progress().count(); count != progress_) {
      progress_ = count;
      last_progress_ = now;
    } else if (!warned_ && now - last_progress_ > stall_timeout_) {
      warned_ = true;
      std::cerr
          << "fusegrid: " << name_ << " has made no progress for "
          << number_text(std::chrono::duration<double>(stall_timeout_).count()) << " s in process "
          << getpid()
          << "; without a process of its own it is not ended: look at it with a debugger, or end the run"
          << std::endl;
    }
  }

  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || work_; });
      if (stopping_) {
        return;
      }
      const auto work = std::exchange(work_, nullptr);
      lock.unlock();
      Outcome outcome = work();
      lock.lock();
      outcome_ = std::move(outcome);
      changed_.notify_all();
    }
  }

  ItemRunner runner_;  // used by the thread alone, but for the count of its progress
  const std::function<void(int member, std::string bytes)> relay_;
  std::shared_ptr<ThreadChannel> team_;  // of the last run
  const std::chrono::milliseconds stall_timeout_;
  std::string name_;  // of what runs
  bool warned_ = false;
  uint64_t progress_ = 0;
  Clock::time_point last_progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::function<Outcome()> work_;
  std::optional<Outcome> outcome_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ExecutorHandle> inline_executor(HandleOptions options) {
  return std::make_unique<InlineExecutor>(std::move(options));
}

}  // namespace fusegrid
