#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "comm/collectives.h"
#include "core/cell.h"
#include "fusion/fused_model.h"
#include "fusion/whole_model/statistics_cache.h"
#include "worker/external_merger.h"
#include "worker/streamed_merger.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

// The merge that cells share, with what is recorded of it.
struct Merge {
  std::string name;  // merge_name() of its cells; "": none
  FusedModel model;  // held in the precision of the zoo's networks
  std::map<std::string, std::string> facts;
  std::map<std::string, double> costs;  // of making it, for the cell that it was made for
};

struct MergeSettings {
  std::filesystem::path statistics = {};  // folder of what merges share; "": in memory alone
  int64_t statistics_bytes = 0;           // in memory
  int64_t statistics_disk_bytes = 0;      // of the folder
  int64_t memory_limit_bytes = 0;         // of a streamed merge; 0: none
  int64_t model_bytes =
      std::numeric_limits<int64_t>::max();  // of the models of a merge in memory, in float32
  bool as_made = false;   // a merge is kept in float32, whatever the precision of the zoo's networks
  bool streamed = false;  // what can be is made from files, by teams or alone, however small it is
  ExternalSettings external = {};
};

// Bytes of the models of one merge that may be held: a quarter of a GPU is left to the passes, half of the host's
// memory, or of the limit (0: none), to everything else.
int64_t room_for_models(at::Device device, int64_t limit_bytes);

// Makes merges and keeps the last one: the cells of one merge, which the coordinator hands out together, fuse once.
class MergeMaker {
 public:
  MergeMaker(const MergeSettings& settings, at::Device device);

  // Made from files: what can be sharded, where `streamed` says so or its models are larger than `model_bytes`.
  bool is_streamed(const Cell& cell, OpenZoo& zoo) const;
  // The cell's merge, made anew unless it is the last one. One that throws leaves none behind, the one before included.
  Merge& of(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick);
  // Makes it from files, with the other members of `group`; its method can_be_sharded(). All of them must call it.
  Merge& with_team(const Cell& cell, OpenZoo& zoo, Collectives& group, const std::function<void()>& tick);

 private:
  void make_elsewhere(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick);
  void make_in_memory(const Cell& cell, OpenZoo& zoo, const std::function<void()>& tick);
  void keep(const Cell& cell, FusedModel model, Precision precision);

  at::Device device_;
  int64_t model_bytes_;
  bool as_made_;
  bool streamed_;
  StatisticsCache statistics_;
  StreamedMerger streamed_merger_;
  ExternalMerger external_merger_;
  Merge last_;
};

}  // namespace fusegrid
