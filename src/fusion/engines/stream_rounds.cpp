#include "fusion/engines/stream_rounds.h"

#include <algorithm>

namespace fusegrid {

void StreamRounds::ask(size_t configuration, StreamRequest request) {
  std::unique_lock lock(mutex_);
  if (cancelled_) {
    throw Cancelled();
  }
  Entry& mine = requests_[configuration];
  mine = {std::move(request), true};
  ++waiting_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return cancelled_ || !mine.waiting; });
  if (mine.waiting) {
    throw Cancelled();
  }
}

void StreamRounds::leave(const std::exception_ptr& error) {
  const std::scoped_lock lock(mutex_);
  --live_;
  error_ = error && !error_ ? error : error_;
  changed_.notify_all();
}

std::vector<StreamRequest*> StreamRounds::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_ == live_; });
  std::vector<StreamRequest*> round;
  for (Entry& entry : requests_) {
    if (entry.waiting) {
      round.push_back(&entry.request);
    }
  }
  return round;
}

void StreamRounds::done(const std::vector<StreamRequest*>& requests) {
  const std::scoped_lock lock(mutex_);
  for (Entry& entry : requests_) {
    if (std::find(requests.begin(), requests.end(), &entry.request) != requests.end()) {
      entry.waiting = false;
      --waiting_;
    }
  }
  changed_.notify_all();
}

void StreamRounds::cancel() {
  const std::scoped_lock lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

std::exception_ptr StreamRounds::error() {
  const std::scoped_lock lock(mutex_);
  return error_;
}

}  // namespace fusegrid
