#include "core/parallel.h"

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace fusegrid {
namespace {

TEST(InParallel, does_each_piece_once) {
  for (const int threads : {-1, 1, 2, 7}) {
    for (const size_t count : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> done(count);
      in_parallel(threads, count, [&](size_t i) { ++done[i]; });
      for (const auto& times : done) {
        EXPECT_EQ(times, 1) << threads << " threads, " << count << " pieces";
      }
    }
  }
}

TEST(InParallel, uses_no_more_threads_than_it_may) {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  in_parallel(3, 50, [&](size_t) {
    const int now = ++running;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    --running;
  });
  EXPECT_GE(most, 2);
  EXPECT_LE(most, 3);
}

// The later failure comes first in time.
TEST(InParallel, throws_the_failure_of_the_lowest_number) {
  std::atomic<int> begun = 0;
  try {
    in_parallel(2, 1000, [&](size_t i) {
      ++begun;
      if (i == 0) {
        while (begun < 2) {
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      throw std::runtime_error(std::to_string(i));
    });
    FAIL() << "did not throw";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "0");
  }
  EXPECT_EQ(begun, 2) << "something was begun after a failure";
}

TEST(ReadingThreads, are_at_most_the_cores) {
  EXPECT_GE(reading_threads(), 1);
  EXPECT_LE(reading_threads(), std::min(usable_cores(), 16));
}

}  // namespace
}  // namespace fusegrid
