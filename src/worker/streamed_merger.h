#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "comm/collectives.h"
#include "core/cell.h"
#include "fusion/fused_model.h"
#include "models/network.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

// Merges cells from the files of their zoo, slice by slice, without holding base or experts: alone or as a team.
class StreamedMerger {
 public:
  // memory_limit_bytes: of the buffers on the host; 0: as large as they want to be.
  StreamedMerger(at::Device device, int64_t memory_limit_bytes)
      : device_(device), memory_limit_bytes_(memory_limit_bytes) {}

  // The merge of a cell whose method can_be_sharded(), with the bits of one in memory, whole on every member of
  // `group`; all of them must call it with the same cell. Models are checked as load_model does, each by one
  // member, and once. Throws AgreedError on all members where one of them fails. tick: called after every slice.
  FusedModel merge(const Cell& cell, OpenZoo& of, Collectives& group, const std::function<void()>& tick);

 private:
  struct Source;
  // Opens the models and checks those that are this member's to check. Collective.
  std::vector<Source> open(const Zoo& zoo, const Replicate& replicate, const std::vector<std::string>& models,
                           const Network& network, Collectives& group, const std::function<void()>& tick);

  at::Device device_;
  int64_t memory_limit_bytes_;
  std::set<std::string> checked_;  // folders, by this member
};

}  // namespace fusegrid
