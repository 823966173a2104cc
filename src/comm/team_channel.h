#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "comm/collectives.h"

namespace fusegrid {

// Messages between the executors of one team, numbered 0..size()-1: ordered, each once. One thread of a member
// uses it.
class TeamChannel {
 public:
  virtual ~TeamChannel() = default;
  virtual int rank() const = 0;  // of this member
  virtual int size() const = 0;
  // Returns at once; what is sent waits at the receiver.
  virtual void send(int member, std::string bytes) = 0;
  // The next message of that member. Throws IoError where the team is broken or nothing comes for too long.
  virtual std::string receive(int member) = 0;
};

// Whoever waits in receive() makes progress as its supervisor understands it: the others have supervisors of their
// own. So it tells that it waits once a tick, and gives up at the deadline.
constexpr std::chrono::milliseconds kTeamTick{100};
constexpr std::chrono::seconds kTeamDeadline{600};
[[noreturn]] void throw_team_silent(int member);  // IoError

// Collectives of CPU tensors over messages. Every member makes one; `channel` must outlive it. Sums are added
// in the order of the members.
std::unique_ptr<Collectives> channel_collectives(TeamChannel& channel);

// What a team uses on `device`: channel_collectives() on CPUs; NCCL on GPUs, where the channel carries its id.
// Every member must call it. Throws as nccl_collectives().
std::unique_ptr<Collectives> team_collectives(TeamChannel& channel, at::Device device);

}  // namespace fusegrid
