#include "worker/thread_channel.h"

#include <chrono>

#include "core/errors.h"

namespace fusegrid {

void ThreadChannel::send(int member, std::string bytes) {
  const std::scoped_lock lock(mutex_);
  sent_.emplace_back(member, std::move(bytes));
}

std::string ThreadChannel::receive(int member) {
  const auto deadline = std::chrono::steady_clock::now() + kTeamDeadline;
  std::unique_lock lock(mutex_);
  auto& inbox = inboxes_[member];
  while (inbox.empty() && !cancelled_) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw_team_silent(member);
    }
    arrived_.wait_for(lock, kTeamTick);
    progress_.tick();
  }
  if (cancelled_) {
    throw IoError("another member of the team has failed");
  }
  std::string bytes = std::move(inbox.front());
  inbox.pop_front();
  return bytes;
}

void ThreadChannel::deliver(int member, std::string bytes) {
  {
    const std::scoped_lock lock(mutex_);
    inboxes_[member].push_back(std::move(bytes));
  }
  arrived_.notify_one();
}

void ThreadChannel::cancel() {
  {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
  }
  arrived_.notify_one();
}

std::vector<std::pair<int, std::string>> ThreadChannel::take_sent() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(sent_, {});
}

}  // namespace fusegrid
