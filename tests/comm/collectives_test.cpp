#include "comm/collectives.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/errors.h"
#include "support/collectives_checks.h"

namespace fusegrid {
namespace {

class ThreadCollectives : public testing::TestWithParam<int> {};

TEST_P(ThreadCollectives, DoAllOperations) {
  auto groups = thread_collectives(GetParam());
  std::vector<std::vector<std::string>> wrong(groups.size());

  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < groups.size(); ++rank) {
    threads.emplace_back([&, rank] {
      for (int i = 0; i < 20; ++i) {  // a rank that runs ahead must not disturb the others
        wrong[rank] = check_collectives(*groups[rank], at::kCPU);
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }

  for (const auto& of_rank : wrong) {
    EXPECT_THAT(of_rank, testing::IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadCollectives, testing::Values(1, 2, 3, 4));

TEST(LocalCollectives, DoAllOperations) {
  EXPECT_THAT(check_collectives(*local_collectives(), at::kCPU), testing::IsEmpty());
}

TEST(NcclCollectives, RefuseAnIdOfAnotherLength) {
  EXPECT_THROW(nccl_collectives("short", 0, 1, 0), DeviceError);
}

}  // namespace
}  // namespace fusegrid
