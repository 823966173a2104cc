// Work that is divided over threads without its result depending on how many there are.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace fusegrid {

// Cores that this process may run on: all of the host's, or those that it was bound to. mpirun binds each rank of a
// small job to one core.
int usable_cores();

// How many threads read and hash files at once: one for each usable core, at most 16, since fewer take what memory
// gives. Under a limit of the address space also at most one for each GiB of it: the stack and the heap of a thread
// reserve up to 72 MiB.
int reading_threads();

// Calls work(0), ..., work(count - 1) from at most `threads` threads, of which the caller's is one. Where some of them
// throw, no more are begun, and the exception of the lowest number is thrown here, whatever order they ran in.
template <typename Work>
void in_parallel(int threads, size_t count, const Work& work) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  size_t failed = count;
  const auto run = [&] {
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        if (i < failed) {
          failed = i;
          failure = std::current_exception();
        }
        next = count;
      }
    }
  };
  std::vector<std::jthread> others;
  try {
    for (size_t i = 1; i < std::min(static_cast<size_t>(std::max(threads, 1)), count); ++i) {
      others.emplace_back(run);
    }
  } catch (const std::system_error&) {  // no room for another: those that there are do all of it
  }
  run();
  others.clear();  // joins
  if (failure) {
    std::rethrow_exception(failure);
  }
}

}  // namespace fusegrid
