#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/team_channel.h"
#include "core/errors.h"
#include "support/collectives_checks.h"

namespace fusegrid {
namespace {

// What the members of a team share where they are threads.
struct Mail {
  std::mutex mutex;
  std::condition_variable arrived;
  std::map<std::pair<int, int>, std::deque<std::string>> boxes;  // (from, to)
  bool broken = false;
  size_t longest = 0;
};

class MailChannel final : public TeamChannel {
 public:
  MailChannel(int rank, int size, Mail& mail) : rank_(rank), size_(size), mail_(mail) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(int member, std::string bytes) override {
    const std::scoped_lock lock(mail_.mutex);
    mail_.longest = std::max(mail_.longest, bytes.size());
    mail_.boxes[{rank_, member}].push_back(std::move(bytes));
    mail_.arrived.notify_all();
  }
  std::string receive(int member) override {
    std::unique_lock lock(mail_.mutex);
    auto& box = mail_.boxes[{member, rank_}];
    mail_.arrived.wait(lock, [&] { return mail_.broken || !box.empty(); });
    if (box.empty()) {
      throw IoError("the team is broken");
    }
    std::string bytes = std::move(box.front());
    box.pop_front();
    return bytes;
  }

 private:
  int rank_, size_;
  Mail& mail_;
};

template <typename Work>
void on_team(int size, Mail& mail, const Work& work) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      MailChannel channel(rank, size, mail);
      const auto group = team_collectives(channel, at::kCPU);
      work(*group);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

class ChannelCollectives : public testing::TestWithParam<int> {};

TEST_P(ChannelCollectives, DoAllOperations) {
  Mail mail;
  std::vector<std::vector<std::string>> wrong(static_cast<size_t>(GetParam()));

  on_team(GetParam(), mail, [&](Collectives& group) {
    for (int i = 0; i < 20; ++i) {  // a member that runs ahead must not disturb the others
      wrong[static_cast<size_t>(group.rank())] = check_collectives(group, at::kCPU);
    }
  });

  for (const auto& of_rank : wrong) {
    EXPECT_THAT(of_rank, testing::IsEmpty());
  }
  for (const auto& [way, box] : mail.boxes) {
    EXPECT_TRUE(box.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ChannelCollectives, testing::Values(1, 2, 3, 4));

TEST(ChannelCollectives, CutWhatIsLong) {
  Mail mail;
  std::vector<int> right(2);

  on_team(2, mail, [&](Collectives& group) {
    at::Tensor tensor = at::full({700'000}, group.rank() + 1, at::kFloat);  // 2.8 MB
    group.all_reduce_sum(tensor);
    right[static_cast<size_t>(group.rank())] = at::equal(tensor, at::full({700'000}, 3, at::kFloat));
  });

  EXPECT_EQ(right, (std::vector<int>{1, 1}));
  EXPECT_EQ(mail.longest, size_t{1} << 20);
}

TEST(ChannelCollectives, ThrowWhereTheTeamBreaks) {
  Mail mail;
  MailChannel channel(0, 2, mail);
  const auto group = channel_collectives(channel);
  std::thread breaker([&] {
    const std::scoped_lock lock(mail.mutex);
    mail.broken = true;
    mail.arrived.notify_all();
  });

  EXPECT_THROW(group->barrier(), IoError);

  breaker.join();
}

}  // namespace
}  // namespace fusegrid
