#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/cell.h"
#include "core/least_recently_used.h"
#include "worker/memory_shares.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {

// A zoo whose parts are read when a cell first needs them.
class OpenZoo {
 public:
  // pack: as whoever began the run hashed it; external_owners: see ZooCache.
  OpenZoo(const std::filesystem::path& folder, const std::optional<SeenPack>& pack, at::Device device,
          Precision precision, LeastRecentlyUsed<LoadedModel>& models, const MemoryShares& shares,
          const std::map<std::string, std::string>& external_owners);

  const Zoo& zoo() const { return zoo_; }
  // Of tasks that commands answer, those that these experts own, each with its expert.
  std::map<std::string, std::string> external_owners(const std::vector<std::string>& experts) const;
  const PackData& data() const { return data_; }
  // What surrounds the models that serve `seed`: read once per replicate.
  const Network& network(int64_t seed);
  // Of one model in float32.
  int64_t model_bytes(int64_t seed);
  // What the owner of the cell's task scored when it was made: "<task>/<split>/<metric>".
  std::map<std::string, double> owner_scores(const Cell& cell) const;
  // The multi-task model's own readouts, by task; none where it answers under the network's.
  std::map<std::string, std::shared_ptr<const Readout>> multitask_readouts(int64_t seed) const;
  // These models (as models_read() names them) of that replicate, whatever of them is kept already being read no more.
  // Nobody drops them while they are held.
  std::vector<std::shared_ptr<const LoadedModel>> models(int64_t seed, const std::vector<std::string>& names);

 private:
  Zoo zoo_;
  at::Device device_;
  Precision precision_;
  PackData data_;
  std::map<int64_t, Network> networks_;  // by the seed of the replicate
  LeastRecentlyUsed<LoadedModel>& models_;
  std::map<std::string, std::string> external_owners_;  // of any expert
};

// The zoos of a run, by name, each opened once. Their models share one limit.
class ZooCache {
 public:
  // folders: by the zoos' names, as are the packs: those that need not be hashed again while they stay as they were.
  // external_owners: tasks that commands answer -> the expert that they were made for.
  ZooCache(std::map<std::string, std::string> folders, at::Device device, const MemoryShares& shares,
           Precision precision = Precision::kFp32, std::map<std::string, SeenPack> packs = {},
           std::map<std::string, std::string> external_owners = {});
  ZooCache(const ZooCache&) = delete;
  ZooCache& operator=(const ZooCache&) = delete;
  OpenZoo& open(const std::string& name);

 private:
  std::map<std::string, std::string> folders_;
  std::map<std::string, SeenPack> packs_;
  std::map<std::string, std::string> external_owners_;
  at::Device device_;
  Precision precision_;
  MemoryShares shares_;
  LeastRecentlyUsed<LoadedModel> models_;
  std::map<std::string, OpenZoo> open_;
};

}  // namespace fusegrid
