#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/errors.h"
#include "worker/executor_handle.h"

namespace fusegrid {
namespace {

class InlineExecutor : public ExecutorHandle {
 public:
  explicit InlineExecutor(HandleOptions options) : runner_(std::move(options.start)) {}

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

  void start(const std::string& item) override {
    if (!thread_.joinable()) {
      thread_ = std::thread([this] { serve(); });
    }
    {
      const std::lock_guard lock(mutex_);
      FUSEGRID_ASSERT(!item_ && !outcome_, "an item is running");
      item_ = item;
    }
    changed_.notify_all();
  }

  std::optional<Outcome> wait(std::chrono::microseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [this] { return outcome_.has_value(); })) {
      return std::nullopt;
    }
    return std::exchange(outcome_, std::nullopt);
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || item_.has_value(); });
      if (stopping_) {
        return;
      }
      const std::string item = *std::exchange(item_, std::nullopt);
      lock.unlock();
      Outcome outcome = runner_.run(item);
      lock.lock();
      outcome_ = std::move(outcome);
      changed_.notify_all();
    }
  }

  ItemRunner runner_;  // used by the thread alone
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<std::string> item_;
  std::optional<Outcome> outcome_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ExecutorHandle> inline_executor(HandleOptions options) {
  return std::make_unique<InlineExecutor>(std::move(options));
}

}  // namespace fusegrid
