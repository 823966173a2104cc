#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/errors.h"
#include "worker/executor_handle.h"
#include "worker/thread_channel.h"

namespace fusegrid {
namespace {

class InlineExecutor : public ExecutorHandle {
 public:
  explicit InlineExecutor(HandleOptions options)
      : runner_(std::move(options.start)), relay_(std::move(options.relay)) {}

  ~InlineExecutor() override {
    cancel();
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void start(const ExecutorRun& run) override {
    if (!thread_.joinable()) {
      thread_ = std::thread([this] { serve(); });
    }
    {
      const std::lock_guard lock(mutex_);
      FUSEGRID_ASSERT(!run_ && !outcome_, "an item is running");
      run_ = run;
      team_.reset();
      if (run.members > 1) {
        team_ = std::make_shared<ThreadChannel>(run.member, run.members, runner_.progress());
      }
    }
    changed_.notify_all();
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
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || run_.has_value(); });
      if (stopping_) {
        return;
      }
      const ExecutorRun run = *std::exchange(run_, std::nullopt);
      const auto team = team_;
      lock.unlock();
      Outcome outcome = runner_.run(run, team.get());
      lock.lock();
      outcome_ = std::move(outcome);
      changed_.notify_all();
    }
  }

  ItemRunner runner_;  // used by the thread alone
  const std::function<void(int member, std::string bytes)> relay_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<ExecutorRun> run_;
  std::shared_ptr<ThreadChannel> team_;  // of the last run
  std::optional<Outcome> outcome_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ExecutorHandle> inline_executor(HandleOptions options) {
  return std::make_unique<InlineExecutor>(std::move(options));
}

}  // namespace fusegrid
