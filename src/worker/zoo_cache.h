#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/least_recently_used.h"
#include "worker/memory_shares.h"
#include "worker/pack_data.h"
#include "zoo/zoo.h"

namespace fusegrid {

// A zoo whose parts are read when a cell first needs them.
class OpenZoo {
 public:
  OpenZoo(const std::filesystem::path& folder, at::Device device, LeastRecentlyUsed<LoadedModel>& models,
          int64_t shifted_bytes);

  const Zoo& zoo() const { return zoo_; }
  const PackData& data() const { return data_; }
  // What surrounds the models that serve `seed`: read once per replicate.
  const Network& network(int64_t seed);
  // These models (as models_read() names them) of that replicate, whatever of them is kept already being read no more.
  // Nobody drops them while they are held.
  std::vector<std::shared_ptr<const LoadedModel>> models(int64_t seed, const std::vector<std::string>& names);

 private:
  Zoo zoo_;
  at::Device device_;
  PackData data_;
  std::map<int64_t, Network> networks_;  // by the seed of the replicate
  LeastRecentlyUsed<LoadedModel>& models_;
};

// The zoos of a run, by name, each opened once. Their models share one limit.
class ZooCache {
 public:
  // folders: by the zoos' names.
  ZooCache(std::map<std::string, std::string> folders, at::Device device, const MemoryShares& shares);
  ZooCache(const ZooCache&) = delete;
  ZooCache& operator=(const ZooCache&) = delete;
  OpenZoo& open(const std::string& name);

 private:
  std::map<std::string, std::string> folders_;
  at::Device device_;
  int64_t shifted_bytes_;
  LeastRecentlyUsed<LoadedModel> models_;
  std::map<std::string, OpenZoo> open_;
};

}  // namespace fusegrid
