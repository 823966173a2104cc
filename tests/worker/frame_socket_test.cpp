#include "worker/frame_socket.h"

#include <array>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/errors.h"

namespace fusegrid {
namespace {

class FrameSocketTest : public testing::Test {
 protected:
  FrameSocketTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    a_.emplace(ends[0]);
    raw_ = ends[1];
  }
  ~FrameSocketTest() override { close(raw_); }

  std::optional<FrameSocket> a_;
  int raw_ = -1;
};

TEST_F(FrameSocketTest, CarriesFramesOfAllSizes) {
  FrameSocket b(dup(raw_));
  const std::vector<std::string> sent = {"", "x", std::string(3 << 20, 'y'), "end"};

  for (const auto& payload : sent) {
    a_->send(payload);
  }
  std::vector<std::string> got;
  for (int i = 0; i < 1000 && got.size() < sent.size(); ++i) {
    a_->pump();
    b.pump();
    while (const auto frame = b.receive()) {
      got.push_back(*frame);
    }
  }

  EXPECT_EQ(got, sent);
}

TEST_F(FrameSocketTest, NoticesADamagedByte) {
  FrameSocket b(dup(raw_));
  b.send("payload");
  std::array<char, 64> bytes{};
  const ssize_t size = ::recv(a_->fd(), bytes.data(), bytes.size(), 0);
  ASSERT_EQ(size, 15);
  bytes[12] ^= 1;

  ASSERT_EQ(write(raw_, bytes.data(), 15), 15);
  a_->pump();

  EXPECT_THROW(a_->receive(), DataError);
}

TEST_F(FrameSocketTest, GivesNoHalfFrameWhenTheOtherSideEnds) {
  ASSERT_EQ(write(raw_, "\x05\0\0\0\0\0\0\0ab", 10), 10);
  shutdown(raw_, SHUT_WR);

  a_->pump();

  EXPECT_FALSE(a_->receive());
  EXPECT_TRUE(a_->closed());
}

TEST_F(FrameSocketTest, RefusesAnAbsurdLength) {
  ASSERT_EQ(write(raw_, "\xff\xff\xff\xff\0\0\0\0", 8), 8);

  a_->pump();

  EXPECT_THROW(a_->receive(), DataError);
}

}  // namespace
}  // namespace fusegrid
