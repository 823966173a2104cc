#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

#include "fusion/engine.h"

namespace fusegrid {

// What of the models a configuration merges.
struct StreamPart {
  std::vector<bool> tensors;    // of each, whether it is in this part; empty: all are
  std::vector<size_t> experts;  // those that it sees, in its order; empty: all
  bool has(size_t tensor) const { return tensors.empty() || tensors[tensor]; }
};

// What one configuration asks of the streamed engine, and then waits for.
struct StreamRequest {
  enum class Kind { kSample, kElements, kTensors, kSum };
  Kind kind = Kind::kElements;
  Engine::Visit visit = {};  // of a pass; called by the driving thread
  std::function<void()> after =
      {};  // called by the driving thread when the pass is over on this rank; may use the group
  std::vector<int64_t>* counters = nullptr;  // of kSum
  bool with_base = false;                    // whether the slices show the base
  const StreamPart* part = nullptr;
  size_t first_output = 0, outputs = 0;  // what the pass writes; none: it is a reduction
};

// Where configurations, each in its own thread, meet the thread that drives the merge. A round begins when every
// configuration that is not done has asked for something: so all of them share one read of the models, and rounds
// are the same on every rank whatever the speed of its threads.
class StreamRounds {
 public:
  explicit StreamRounds(size_t configurations) : requests_(configurations), live_(configurations) {}

  // -- threads of configurations
  // Returns when it has been done. Throws Cancelled where the merge ended early.
  void ask(size_t configuration, StreamRequest request);
  // The configuration is done, or failed with `error`.
  void leave(const std::exception_ptr& error);

  // -- the driving thread
  // Waits for a round; the requests in order of the configurations, none where all are done. The first error of a
  // configuration is left in error().
  std::vector<StreamRequest*> wait();
  void done(const std::vector<StreamRequest*>& requests);
  void cancel();
  std::exception_ptr error();

  // Thrown into configurations that need not go on.
  struct Cancelled {};

 private:
  struct Entry {
    StreamRequest request;
    bool waiting = false;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Entry> requests_;
  size_t live_;
  size_t waiting_ = 0;
  bool cancelled_ = false;
  std::exception_ptr error_;
};

}  // namespace fusegrid
