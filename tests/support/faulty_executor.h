#pragma once

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "comm/team_channel.h"
#include "worker/child_process.h"
#include "worker/executor.h"

namespace fusegrid {

// Executor kind "faulty": does to itself what the item's name up to the first '-' says. In a team: "teamdie",
// "teamthrow" (member 1), "teamroulette" (any member).
class FaultyExecutor : public Executor {
 public:
  Result run(const std::string& item, Progress& progress) override {
    misbehave(item.substr(0, item.find('-')), progress);
    Result result;
    result.name = item;
    result.facts["pid"] = std::to_string(getpid());
    result.facts["team"] = std::to_string(team_);
    result.metrics = {{"accuracy", "test", 0.5, 10}};
    return result;
  }

  void prepare(const std::string& item, TeamChannel& team, Progress& progress) override {
    const std::string deed = item.substr(0, item.find('-'));
    const auto group = team_collectives(team, at::kCPU);
    group->barrier();
    if (deed == "teamdie" && team.rank() == 1) {
      kill(getpid(), SIGKILL);
    } else if (deed == "teamthrow" && team.rank() == 1) {
      throw std::runtime_error("member 1 does not like it");
    } else if (deed == "teamroulette") {
      misbehave("roulette", progress);
    }
    int64_t sum = team.rank() + 1;
    group->all_reduce_sum(std::span<int64_t>(&sum, 1));
    if (sum != team.size() * (team.size() + 1) / 2) {
      throw std::runtime_error("the team cannot add");
    }
    team_ = team.size();
  }

 private:
  // Dies while a command runs that has started something; prints "orphan" and the number of its process.
  [[noreturn]] static void leave_orphan() {
    LogCapture log("", 0);
    ChildOptions options;
    options.executable = "/bin/sh";
    options.arguments = {"-c", "sleep 1000 & echo orphan $!.; wait"};
    options.leads_session = false;
    const ChildProcess command(options, log);
    while (log.tail().find('.') == std::string::npos) {
      log.pump();
    }
    std::cerr << log.tail() << std::flush;
    std::_Exit(3);
  }

  static void misbehave(const std::string& deed, Progress& progress) {
    if (deed == "orphan") {
      leave_orphan();
    } else if (deed == "segfault") {
      signal(SIGSEGV, SIG_DFL);
      raise(SIGSEGV);
    } else if (deed == "abort") {
      std::cerr << "about to abort" << std::endl;
      std::abort();
    } else if (deed == "exit3") {
      std::_Exit(3);
    } else if (deed == "throw") {
      throw std::runtime_error("the model is not to my liking");
    } else if (deed == "throwint") {
      throw 42;
    } else if (deed == "badalloc") {
      throw std::bad_alloc();
    } else if (deed == "diskfull") {
      throw IoError("the disk is full");
    } else if (deed == "vanished") {
      reading_inputs([] { throw IoError("'zoos/toy/model' is gone"); });
    } else if (deed == "exchanged") {
      reading_inputs([] { throw ConfigError("'zoos/toy/model' is another one"); });
    } else if (deed == "stopself") {
      raise(SIGSTOP);
    } else if (deed == "garbage") {
      const std::string noise(4096, '\xff');
      static_cast<void>(!write(3, noise.data(), noise.size()));
      pause();
    } else {
      misbehave_slowly(deed, progress);
    }
  }

  static void misbehave_slowly(const std::string& deed, Progress& progress) {
    if (deed == "hog") {
      std::vector<std::unique_ptr<char[]>> hoard;
      for (int i = 0; i < 1024; ++i) {
        hoard.push_back(
            std::make_unique_for_overwrite<char[]>(64 << 20));  // of addresses alone: 64 GiB in all
        progress.tick();
      }
    } else if (deed == "hang") {
      std::this_thread::sleep_for(std::chrono::hours(1));
    } else if (deed == "slow") {  // makes progress all the time
      for (int i = 0; i < 20; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        progress.tick();
      }
    } else if (deed == "print") {
      for (int i = 0; i < 10 << 10; ++i) {
        std::cerr << std::string(1023, 'x') << '\n';
      }
      std::cerr << "the last line\n";
      throw std::runtime_error("printed enough");
    } else if (deed == "roulette") {  // every tenth time the kernel's out-of-memory killer seems to come
      std::random_device random;
      if (random() % 10 == 0) {
        kill(getpid(), SIGKILL);
      }
    } else if (deed == "short") {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  int team_ = 0;  // members of the last one
};

inline const bool faulty_executor_registered = [] {
  executor_registry().add("faulty",
                          [](const ExecutorContext&) { return std::make_unique<FaultyExecutor>(); });
  return true;
}();

}  // namespace fusegrid
