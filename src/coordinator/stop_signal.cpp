#include "coordinator/stop_signal.h"

#include <array>
#include <atomic>

#include <signal.h>

namespace fusegrid {
namespace {

constexpr std::array<int, 3> kSignals{SIGTERM, SIGINT, SIGUSR1};  // most urgent first
std::array<std::atomic<bool>, 3> caught;                          // lock-free: safe in a handler

void on_signal(int signal) {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i] == signal) {
      caught[i] = true;
    }
  }
}

}  // namespace

struct StopSignal::Saved {
  std::array<struct sigaction, 3> actions;
};

StopSignal::StopSignal() : saved_(std::make_unique<Saved>()) {
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: waits of the coordinator end at once
  for (size_t i = 0; i < kSignals.size(); ++i) {
    caught[i] = false;
    action.sa_flags = kSignals[i] == SIGINT ? SA_RESETHAND : 0;
    sigaction(kSignals[i], &action, &saved_->actions[i]);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &saved_->actions[i], nullptr);
  }
}

std::optional<int> StopSignal::seen() const {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (caught[i]) {
      return kSignals[i];
    }
  }
  return std::nullopt;
}

}  // namespace fusegrid
