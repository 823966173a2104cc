#include <condition_variable>
#include <functional>
#include <iostream>
#include <mutex>
#include <thread>

#include <unistd.h>

#include "core/errors.h"
#include "core/text.h"
#include "worker/executor_handle.h"

namespace fusegrid {
namespace {

class InlineExecutor : public ExecutorHandle {
 public:
  explicit InlineExecutor(HandleOptions options)
      : runner_(std::move(options.start)), stall_timeout_(options.stall_timeout) {}

  ~InlineExecutor() override {
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

  void start(const std::string& item) override {
    hand_over([this, item] { return runner_.run(item); }, item);
  }

  std::optional<Outcome> wait(std::chrono::microseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [this] { return outcome_.has_value(); })) {
      warn_of_stall();
      return std::nullopt;
    }
    return std::exchange(outcome_, std::nullopt);
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
