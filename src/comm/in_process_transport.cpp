#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>

#include <unistd.h>

#include "comm/transport.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

struct Inbox {
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<Message> messages;
};

using Inboxes = std::vector<std::unique_ptr<Inbox>>;

class InProcessTransport : public Transport {
 public:
  InProcessTransport(int rank, std::shared_ptr<Inboxes> inboxes)
      : rank_(rank), inboxes_(std::move(inboxes)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(inboxes_->size()); }
  int local_worker() const override { return rank_ - 1; }
  int local_workers() const override { return size() - 1; }

  std::string host() const override {
    std::array<char, 256> name{};
    gethostname(name.data(), name.size() - 1);
    return name.data();
  }

  void send(int peer, std::string bytes) override {
    FUSEGRID_ASSERT(peer >= 0 && peer < size(), "peer " + std::to_string(peer));
    Inbox& inbox = *(*inboxes_)[peer];
    {
      const std::lock_guard lock(inbox.mutex);
      inbox.messages.push_back({rank_, std::move(bytes)});
    }
    inbox.arrived.notify_one();
  }

  std::optional<Message> receive(std::chrono::microseconds timeout) override {
    Inbox& inbox = *(*inboxes_)[rank_];
    std::unique_lock lock(inbox.mutex);
    if (!inbox.arrived.wait_for(lock, timeout, [&] { return !inbox.messages.empty(); })) {
      return std::nullopt;
    }
    Message message = std::move(inbox.messages.front());
    inbox.messages.pop_front();
    return message;
  }

  void abort(int) override {}

 private:
  int rank_;
  std::shared_ptr<Inboxes> inboxes_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> in_process_transports(int ranks) {
  FUSEGRID_ASSERT(ranks > 0, std::to_string(ranks));
  auto inboxes = std::make_shared<Inboxes>();
  for (int rank = 0; rank < ranks; ++rank) {
    inboxes->push_back(std::make_unique<Inbox>());
  }
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank) {
    transports.push_back(std::make_unique<InProcessTransport>(rank, inboxes));
  }
  return transports;
}

}  // namespace fusegrid
