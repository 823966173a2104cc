#include <algorithm>
#include <cstring>

#include <ATen/ops/empty_like.h>

#include "comm/agreement.h"
#include "comm/team_channel.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

// Of a message: whoever passes it on holds a few copies.
constexpr size_t kMessageBytes = size_t{1} << 20;
constexpr int kRoot = 0;  // adds up

class ChannelCollectives : public Collectives {
 public:
  explicit ChannelCollectives(TeamChannel& channel) : channel_(channel) {}

  int rank() const override { return channel_.rank(); }
  int size() const override { return channel_.size(); }
  std::string name() const override { return "channel"; }

  void barrier() override {
    int64_t token = 0;
    all_reduce_sum(std::span<int64_t>(&token, 1));
  }

  void all_reduce_sum(std::span<int64_t> values) override {
    std::vector<int64_t> theirs(values.size());
    const auto add = [&](int member) {
      receive(member, theirs.data(), values.size_bytes());
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] += theirs[i];
      }
    };
    through_root(values.data(), values.size_bytes(), add);
  }

  std::vector<std::vector<double>> all_gather(std::span<const double> mine) override {
    const uint64_t length = mine.size();
    for_others([&](int member) {
      send(member, &length, sizeof(length));
      send(member, mine.data(), mine.size_bytes());
    });
    std::vector<std::vector<double>> all(size());
    all[rank()].assign(mine.begin(), mine.end());
    for_others([&](int member) {
      uint64_t theirs = 0;
      receive(member, &theirs, sizeof(theirs));
      all[member].resize(theirs);
      receive(member, all[member].data(), theirs * sizeof(double));
    });
    return all;
  }

  void all_reduce_sum(at::Tensor& tensor) override {
    expect_here(tensor);
    at::Tensor theirs = at::empty_like(tensor);
    const auto add = [&](int member) {
      receive(member, theirs.data_ptr(), theirs.nbytes());
      tensor.add_(theirs);
    };
    through_root(tensor.data_ptr(), tensor.nbytes(), add);
  }

  void broadcast(at::Tensor& tensor, int root) override {
    expect_here(tensor);
    from(root, tensor.data_ptr(), tensor.nbytes());
  }

 private:
  static void expect_here(const at::Tensor& tensor) {
    FUSEGRID_ASSERT(tensor.is_contiguous() && tensor.is_cpu(), "the tensor must be contiguous, on the CPU");
  }

  template <typename Use>
  void for_others(const Use& use) {
    for (int member = 0; member < size(); ++member) {
      if (member != rank()) {
        use(member);
      }
    }
  }

  // The root calls `add` for the data of every other member, in order, and all get what it then has.
  template <typename Add>
  void through_root(void* data, size_t bytes, const Add& add) {
    if (rank() == kRoot) {
      for_others(add);
    } else {
      send(kRoot, data, bytes);
    }
    from(kRoot, data, bytes);
  }

  void from(int root, void* data, size_t bytes) {
    if (rank() == root) {
      for_others([&](int member) { send(member, data, bytes); });
    } else {
      receive(root, data, bytes);
    }
  }

  // Both sides know how much is to come.
  void send(int member, const void* data, size_t bytes) {
    for (size_t done = 0; done < bytes; done += kMessageBytes) {
      channel_.send(member, {static_cast<const char*>(data) + done, std::min(kMessageBytes, bytes - done)});
    }
  }

  void receive(int member, void* data, size_t bytes) {
    for (size_t done = 0; done < bytes; done += kMessageBytes) {
      const std::string piece = channel_.receive(member);
      FUSEGRID_ASSERT(piece.size() == std::min(kMessageBytes, bytes - done),
                      "a piece of " + std::to_string(piece.size()) + " bytes of " + std::to_string(bytes));
      std::memcpy(static_cast<char*>(data) + done, piece.data(), piece.size());
    }
  }

  TeamChannel& channel_;
};

}  // namespace

void throw_team_silent(int member) {
  throw IoError("member " + std::to_string(member) + " of the team has sent nothing for " +
                std::to_string(kTeamDeadline.count()) + " s");
}

std::unique_ptr<Collectives> channel_collectives(TeamChannel& channel) {
  return std::make_unique<ChannelCollectives>(channel);
}

std::unique_ptr<Collectives> team_collectives(TeamChannel& channel, at::Device device) {
  if (device.is_cpu()) {
    return channel_collectives(channel);
  }
  return nccl_collectives_of(*channel_collectives(channel), device.index());
}

}  // namespace fusegrid
