#pragma once

#include <memory>
#include <optional>

namespace fusegrid {

// Catches the signals that ask for an early end while it exists (one object at a time): SIGTERM and SIGINT
// (soon), SIGUSR1 (let running items finish; batch systems send it before the time limit). A second SIGINT ends the
// process: nothing else ends one whose inline item hangs. Restores the former handlers.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The most urgent signal so far.
  std::optional<int> seen() const;

 private:
  struct Saved;
  std::unique_ptr<Saved> saved_;
};

}  // namespace fusegrid
