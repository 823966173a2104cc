#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>

#include <poll.h>
#include <signal.h>

#include "core/errors.h"
#include "worker/frame_socket.h"
#include "worker/item_runner.h"

namespace fusegrid {
namespace {

// The socket as the executor's two threads use it.
class Connection {
 public:
  explicit Connection(int fd) : socket_(fd) {}

  // Waits for the next frame; nullopt when the supervisor has gone.
  std::optional<std::string> receive() {
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
      wait(POLLIN);
    }
  }

  void send(const FromExecutor& message) {
    const std::lock_guard lock(mutex_);
    socket_.send(encode(message));
    while (socket_.wants_to_write()) {
      wait(POLLOUT);
      socket_.pump();
    }
  }

 private:
  void wait(short events) {
    pollfd entry{socket_.fd(), events, 0};
    poll(&entry, 1, -1);
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
    FUSEGRID_ASSERT(runner != nullptr, "an item came before the settings");
    Outcome outcome = runner->run(std::get<ExecutorRun>(message).item);
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
