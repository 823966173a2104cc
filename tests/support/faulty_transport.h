#pragma once

#include <deque>
#include <memory>
#include <random>

#include "comm/transport.h"

namespace fusegrid {

struct Faults {
  double lose = 0, repeat = 0, delay = 0;  // probabilities, per message sent
  std::chrono::milliseconds longest_delay{30};
  int64_t dies_after = -1;  // messages sent, then all is lost in both directions; negative: never
};

// A transport that loses, doubles, delays (and so reorders) what is sent through it, or dies.
class FaultyTransport : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, Faults faults, uint64_t seed)
      : inner_(std::move(inner)), faults_(faults), random_(seed) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string host() const override { return inner_->host(); }
  int local_worker() const override { return inner_->local_worker(); }
  int local_workers() const override { return inner_->local_workers(); }
  void abort(int status) override { inner_->abort(status); }

  void send(int peer, std::string bytes) override {
    release();
    if (dead() || happens(faults_.lose)) {
      return;
    }
    ++sent_;
    if (happens(faults_.repeat)) {
      inner_->send(peer, bytes);
    }
    if (happens(faults_.delay)) {
      const std::chrono::microseconds wait(random_() % (faults_.longest_delay.count() * 1000));
      held_.push_back({Clock::now() + wait, peer, std::move(bytes)});
      return;
    }
    inner_->send(peer, std::move(bytes));
  }

  std::optional<Message> receive(std::chrono::microseconds timeout) override {
    const auto deadline = Clock::now() + timeout;
    while (true) {
      release();
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
      const auto slice = std::min(left, std::chrono::microseconds(held_.empty() ? 50'000 : 1'000));
      auto message = inner_->receive(std::max(slice, std::chrono::microseconds(0)));
      if (message && !dead()) {
        return message;
      }
      if (Clock::now() >= deadline) {
        return std::nullopt;
      }
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Held {
    Clock::time_point until;
    int peer;
    std::string bytes;
  };

  bool dead() const { return faults_.dies_after >= 0 && sent_ >= faults_.dies_after; }
  bool happens(double probability) { return std::uniform_real_distribution<double>()(random_) < probability; }
  void release() {
    for (auto held = held_.begin(); held != held_.end();) {
      if (held->until <= Clock::now() && !dead()) {
        inner_->send(held->peer, std::move(held->bytes));
        held = held_.erase(held);
      } else {
        ++held;
      }
    }
  }

  std::unique_ptr<Transport> inner_;
  Faults faults_;
  std::mt19937_64 random_;
  std::deque<Held> held_;
  int64_t sent_ = 0;
};

}  // namespace fusegrid
