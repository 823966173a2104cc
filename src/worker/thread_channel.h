#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/team_channel.h"
#include "worker/executor.h"

namespace fusegrid {

// The team channel of an executor that is a thread: between it and the thread of its supervisor.
class ThreadChannel final : public TeamChannel {
 public:
  ThreadChannel(int rank, int size, Progress& progress) : rank_(rank), size_(size), progress_(progress) {}

  // -- the executor's thread
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(int member, std::string bytes) override;
  std::string receive(int member) override;

  // -- the supervisor's thread
  void deliver(int member, std::string bytes);
  void cancel();  // receive() throws from now on
  std::vector<std::pair<int, std::string>> take_sent();

 private:
  const int rank_, size_;
  Progress& progress_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  bool cancelled_ = false;
  std::map<int, std::deque<std::string>> inboxes_;
  std::vector<std::pair<int, std::string>> sent_;
};

}  // namespace fusegrid
