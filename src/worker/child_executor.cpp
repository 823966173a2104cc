#include <algorithm>
#include <array>
#include <cstring>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/errors.h"
#include "core/text.h"
#include "worker/executor_handle.h"

namespace fusegrid {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int64_t kLogCapBytes = int64_t{16} << 20;
constexpr std::chrono::seconds kStartLimit{120};  // loading LibTorch from a busy network file system
constexpr int kEndPatienceMs = 2000;  // of an executor that has closed its socket or was asked to end

std::string seconds_text(milliseconds time) {
  return number_text(static_cast<double>(time.count()) / 1000.0) + " s";
}

Failure describe_end(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    const char* name = sigabbrev_np(signal);
    std::string text = "signal " + std::to_string(signal) + " (SIG" + (name ? name : "?") + ")";
    if (signal == SIGKILL) {
      text += ", which the kernel sends when memory runs out";
    }
    return {signal == SIGKILL ? "killed" : "signal", text, ""};
  }
  return {"exit", "exit code " + std::to_string(WEXITSTATUS(status)), ""};
}

class ChildExecutor : public ExecutorHandle {
 public:
  explicit ChildExecutor(HandleOptions options)
      : options_(std::move(options)), log_(options_.log_file, kLogCapBytes) {}

  ~ChildExecutor() override {
    if (child_ && !busy_) {
      shutdown_idle_child();
    }
  }

  void open() override {
    begin("start of the executor");
    opening_ = true;
    send({});
  }

  void start(const ExecutorRun& run) override {
    begin(run.item);
    team_ = run.team;
    send(run);
  }

  void deliver(int member, std::string bytes) override {
    if (child_ && !early_failure_) {
      child_->socket().send(encode(ToExecutor(ExecutorRelay{team_, member, std::move(bytes)})));
    }
  }

  void cancel() override {
    if (!early_failure_) {
      child_->reap(0);
      early_failure_ = Failure{"cancelled", "another member of its team has failed", ""};
    }
  }

  std::optional<Outcome> wait(microseconds timeout) override {
    if (early_failure_) {
      return finish(*early_failure_);
    }
    wait_for_events(timeout);
    log_.pump();
    child_->socket().pump();
    try {
      while (const auto frame = child_->socket().receive()) {
        if (auto outcome = take(decode_from_executor(*frame))) {
          return finish(std::move(*outcome));
        }
      }
    } catch (const DataError& error) {
      child_->reap(0);
      return finish(Failure{"protocol", std::string("the executor wrote nonsense: ") + error.what(), ""});
    }
    if (child_->socket().closed()) {
      return finish(describe_end(child_->reap(kEndPatienceMs)));
    }
    const milliseconds limit =
        answered_ ? options_.stall_timeout : std::max<milliseconds>(options_.stall_timeout, kStartLimit);
    if (steady_clock::now() - last_progress_ > limit) {
      child_->reap(0);
      return finish(Failure{"stall", "no progress for " + seconds_text(limit) + "; killed", ""});
    }
    return std::nullopt;
  }

 private:
  void begin(const std::string& what) {
    FUSEGRID_ASSERT(!busy_, "an item is running");
    busy_ = true;
    early_failure_.reset();
    if (child_) {
      child_->socket().pump();
      if (child_->socket().closed()) {
        child_.reset();  // died while idle: that is not this item's fault
      }
    }
    log_.pump();
    log_.start_item(what);
    last_progress_ = steady_clock::now();
  }

  // To a new process if there is none.
  void send(const std::optional<ExecutorRun>& run) {
    try {
      if (!child_) {
        child_.emplace(options_.child, log_);
        answered_ = false;
        progress_ = 0;
        child_->socket().send(encode(ToExecutor(options_.start)));
      }
      if (run) {
        child_->socket().send(encode(ToExecutor(*run)));
      }
    } catch (const IoError& error) {
      early_failure_ = Failure{"exit", error.what(), ""};
    }
  }

  void wait_for_events(microseconds timeout) {
    std::array<pollfd, 2> entries{{{child_->socket().fd(), POLLIN, 0}, {log_.fd(), POLLIN, 0}}};
    if (child_->socket().wants_to_write()) {
      entries[0].events |= POLLOUT;
    }
    const timespec limit{timeout.count() / 1'000'000, timeout.count() % 1'000'000 * 1000};
    ppoll(entries.data(), entries.size(), &limit, nullptr);  // a negative descriptor is ignored
  }

  std::optional<Outcome> take(FromExecutor message) {
    if (const auto* progress = std::get_if<ExecutorProgress>(&message)) {
      if (progress->count != progress_ || !answered_) {
        progress_ = progress->count;
        last_progress_ = steady_clock::now();
      }
      answered_ = true;
      return opening_ ? std::optional<Outcome>(Result{}) : std::nullopt;
    }
    if (auto* relay = std::get_if<ExecutorRelay>(&message)) {
      options_.relay(relay->member, std::move(relay->bytes));
      return std::nullopt;
    }
    if (auto* result = std::get_if<ExecutorResult>(&message)) {
      return Outcome(std::move(result->result));
    }
    return Outcome(std::move(std::get<ExecutorFailure>(message).failure));
  }

  Outcome finish(Outcome outcome) {
    busy_ = false;
    opening_ = false;
    log_.pump();
    if (auto* failure = std::get_if<Failure>(&outcome)) {
      failure->log_tail = log_.tail();
      const bool by_itself = failure->kind == "exception" && options_.start.device == "cpu";
      if (!by_itself) {
        child_.reset();
      }
    }
    return outcome;
  }

  void shutdown_idle_child() {
    child_->socket().shutdown();
    child_->reap(kEndPatienceMs);
  }

  HandleOptions options_;
  LogCapture log_;
  std::optional<ChildProcess> child_;
  std::optional<Failure> early_failure_;
  bool busy_ = false;
  bool opening_ = false;
  bool answered_ = false;  // the process has come as far as to its first message
  uint64_t progress_ = 0;
  int64_t team_ = 0;
  steady_clock::time_point last_progress_;
};

}  // namespace

std::unique_ptr<ExecutorHandle> child_executor(HandleOptions options) {
  return std::make_unique<ChildExecutor>(std::move(options));
}

}  // namespace fusegrid
