#include <condition_variable>
#include <cstdio>
#include <deque>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

#include <poll.h>
#include <signal.h>

#include "comm/team_channel.h"
#include "core/errors.h"
#include "worker/frame_socket.h"
#include "worker/item_runner.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The socket as the executor's two threads use it.
class Connection {
 public:
  explicit Connection(int fd) : socket_(fd) {}

  // Waits for the next frame; nullopt when the supervisor has gone, or after the timeout where there is one.
  std::optional<std::string> receive(std::optional<milliseconds> timeout = std::nullopt) {
    const auto deadline = steady_clock::now() + timeout.value_or(milliseconds(0));
    while (true) {
      {
        const std::lock_guard lock(mutex_);
        socket_.pump();
        if (auto frame = socket_.receive()) {
          return frame;
        }
        if (socket_.closed()) {
          return std::nullopt;
        }
      }
      const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
      if (timeout && left <= milliseconds(0)) {
        return std::nullopt;
      }
      wait(POLLIN, timeout ? static_cast<int>(left.count()) : -1);
    }
  }

  bool closed() {
    const std::lock_guard lock(mutex_);
    return socket_.closed();
  }

  void send(const FromExecutor& message) {
    const std::lock_guard lock(mutex_);
    socket_.send(encode(message));
    while (socket_.wants_to_write()) {
      wait(POLLOUT, -1);
      socket_.pump();
    }
  }

 private:
  void wait(short events, int timeout_ms) {
    pollfd entry{socket_.fd(), events, 0};
    poll(&entry, 1, timeout_ms);
  }

  std::mutex mutex_;
  FrameSocket socket_;
};

// Tells the supervisor about progress; a counter that stands still is not worth a message.
class Heart {
 public:
  Heart(Connection& connection, const Progress& progress, std::chrono::milliseconds period)
      : thread_([this, &connection, &progress, period] { beat(connection, progress, period); }) {}
  ~Heart() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  void beat(Connection& connection, const Progress& progress, std::chrono::milliseconds period) {
    uint64_t told = 0;
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, period, [this] { return stopping_; })) {
      if (progress.count() != told) {
        told = progress.count();
        connection.send(ExecutorProgress{told});
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

// The team of one run, by way of the supervisor.
class RelayedChannel final : public TeamChannel {
 public:
  RelayedChannel(Connection& connection, const ExecutorRun& run, Progress& progress)
      : connection_(connection), run_(run), progress_(progress) {}

  int rank() const override { return run_.member; }
  int size() const override { return run_.members; }

  void send(int member, std::string bytes) override {
    connection_.send(ExecutorRelay{run_.team, member, std::move(bytes)});
  }

  std::string receive(int member) override {
    const auto deadline = steady_clock::now() + kTeamDeadline;
    auto& inbox = inboxes_[member];
    while (inbox.empty()) {
      if (steady_clock::now() > deadline) {
        throw_team_silent(member);
      }
      take(connection_.receive(kTeamTick));
      progress_.tick();
    }
    std::string bytes = std::move(inbox.front());
    inbox.pop_front();
    return bytes;
  }

 private:
  void take(const std::optional<std::string>& frame) {
    if (!frame) {
      if (connection_.closed()) {
        throw IoError("the supervisor has gone");
      }
      return;
    }
    ToExecutor message = decode_to_executor(*frame);
    auto* relay = std::get_if<ExecutorRelay>(&message);
    FUSEGRID_ASSERT(relay != nullptr, "an order came while an item runs");
    if (relay->team == run_.team) {
      inboxes_[relay->member].push_back(std::move(relay->bytes));
    }
  }

  Connection& connection_;
  const ExecutorRun& run_;
  Progress& progress_;
  std::map<int, std::deque<std::string>> inboxes_;
};

Outcome run_item(Connection& connection, ItemRunner& runner, const ExecutorRun& run) {
  if (run.members == 1) {
    return runner.run(run, nullptr);
  }
  RelayedChannel team(connection, run, runner.progress());
  return runner.run(run, &team);
}

void serve(Connection& connection) {
  std::unique_ptr<ItemRunner> runner;
  std::unique_ptr<Heart> heart;
  while (const auto frame = connection.receive()) {
    const ToExecutor message = decode_to_executor(*frame);
    if (const auto* start = std::get_if<ExecutorStart>(&message)) {
      runner = std::make_unique<ItemRunner>(*start);
      heart = std::make_unique<Heart>(connection, runner->progress(),
                                      std::chrono::milliseconds(start->progress_ms));
      const Outcome opened = runner->open();
      if (const auto* failure = std::get_if<Failure>(&opened)) {
        connection.send(ExecutorFailure{*failure});
        return;
      }
      connection.send(ExecutorProgress{0});  // from now on, standing still is a fault
      continue;
    }
    if (std::holds_alternative<ExecutorRelay>(message)) {
      continue;  // of a run that has failed
    }
    FUSEGRID_ASSERT(runner != nullptr, "an item came before the settings");
    Outcome outcome = run_item(connection, *runner, std::get<ExecutorRun>(message));
    std::cout.flush();
    std::fflush(nullptr);  // what was printed belongs to this item's log
    if (auto* result = std::get_if<Result>(&outcome)) {
      connection.send(ExecutorResult{std::move(*result)});
    } else {
      connection.send(ExecutorFailure{std::move(std::get<Failure>(outcome))});
    }
  }
}

}  // namespace

int executor_main(int fd) {
  try {
    Connection connection(fd);
    serve(connection);
    return 0;
  } catch (const Error& error) {
    std::cerr << "fusegrid executor: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}

}  // namespace fusegrid
