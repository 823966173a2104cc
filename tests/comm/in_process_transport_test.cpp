#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "comm/transport.h"

namespace fusegrid {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(InProcessTransport, KeepsOrderAndTellsTheSender) {
  auto ends = in_process_transports(3);

  for (int i = 0; i < 100; ++i) {
    ends[1]->send(0, "a" + std::to_string(i));
  }
  ends[2]->send(0, std::string("\0b", 2));

  for (int i = 0; i < 100; ++i) {
    const auto message = ends[0]->receive(milliseconds(0));
    ASSERT_TRUE(message);
    EXPECT_EQ(message->peer, 1);
    EXPECT_EQ(message->bytes, "a" + std::to_string(i));
  }
  const auto last = ends[0]->receive(milliseconds(0));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->peer, 2);
  EXPECT_EQ(last->bytes, std::string("\0b", 2));
  EXPECT_FALSE(ends[0]->receive(milliseconds(0)));
}

TEST(InProcessTransport, WaitsNoLongerThanTold) {
  auto ends = in_process_transports(2);
  const auto start = steady_clock::now();

  EXPECT_FALSE(ends[0]->receive(milliseconds(30)));

  EXPECT_GE(steady_clock::now() - start, milliseconds(30));
  EXPECT_LT(steady_clock::now() - start, milliseconds(1000));
}

TEST(InProcessTransport, WakesUpForAMessage) {
  auto ends = in_process_transports(2);
  std::promise<void> waits;
  std::thread sender([&] {
    waits.get_future().wait();
    ends[1]->send(0, "late");
  });

  waits.set_value();
  const auto message = ends[0]->receive(milliseconds(60'000));

  sender.join();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->bytes, "late");
}

TEST(InProcessTransport, NumbersTheWorkersOfTheHost) {
  const auto ends = in_process_transports(3);

  EXPECT_EQ(ends[0]->local_worker(), -1);
  EXPECT_EQ(ends[2]->local_worker(), 1);
  EXPECT_EQ(ends[2]->local_workers(), 2);
}

}  // namespace
}  // namespace fusegrid
