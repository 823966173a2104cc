#include "worker/zoo_cache.h"

#include <algorithm>
#include <numeric>

#include "worker/executor.h"

namespace fusegrid {
OpenZoo::OpenZoo(const std::filesystem::path& folder, const std::optional<SeenPack>& pack, at::Device device,
                 Precision precision, LeastRecentlyUsed<LoadedModel>& models, const MemoryShares& shares,
                 const std::map<std::string, std::string>& external_owners)
    : zoo_(Zoo::load(folder)),
      device_(device),
      precision_(precision),
      data_(zoo_.pack, device, shares, pack),
      models_(models),
      external_owners_(external_owners) {}

std::map<std::string, std::string> OpenZoo::external_owners(const std::vector<std::string>& experts) const {
  std::map<std::string, std::string> owners;
  std::copy_if(external_owners_.begin(), external_owners_.end(), std::inserter(owners, owners.end()),
               [&](const auto& owner) { return std::ranges::count(experts, owner.second) > 0; });
  return owners;
}

const Network& OpenZoo::network(int64_t seed) {
  const Replicate& replicate = zoo_.replicate(seed);
  auto it = networks_.find(replicate.seed);
  if (it == networks_.end()) {
    Network network = reading_inputs([&] { return load_network(zoo_, replicate, device_); });
    network.precision = precision_;
    it = networks_.emplace(replicate.seed, std::move(network)).first;
  }
  return it->second;
}

int64_t OpenZoo::model_bytes(int64_t seed) {
  const auto infos = network(seed).architecture->parameters();
  return std::accumulate(infos.begin(), infos.end(), int64_t{0}, [](int64_t sum, const TensorInfo& info) {
    return sum + info.numel() * static_cast<int64_t>(sizeof(float));
  });
}

std::map<std::string, double> OpenZoo::owner_scores(const Cell& cell) const {
  const auto owners = zoo_.owners(zoo_.experts_called(cell.experts));
  const auto owner = owners.find(cell.task);
  return owner == owners.end() ? std::map<std::string, double>()
                               : scores_below(zoo_.replicate(cell.seed).scores, owner->second + "/");
}

std::map<std::string, std::shared_ptr<const Readout>> OpenZoo::multitask_readouts(int64_t seed) const {
  const Replicate& replicate = zoo_.replicate(seed);
  if (!replicate.multitask_heads) {
    return {};
  }
  return reading_inputs([&] {
    return load_readouts(replicate.layout(), *replicate.multitask_heads, zoo_.tasks, zoo_.pooling, device_);
  });
}

std::vector<std::shared_ptr<const LoadedModel>> OpenZoo::models(int64_t seed,
                                                                const std::vector<std::string>& names) {
  const Replicate& replicate = zoo_.replicate(seed);
  const Architecture& architecture = *network(seed).architecture;
  const auto key = [&](const std::string& name) {
    return zoo_.name + "/" + std::to_string(replicate.seed) + "/" + name;
  };
  std::vector<std::shared_ptr<const LoadedModel>> loaded;
  for (const std::string& name :
       names) {  // first hold what is there, so that nothing of it makes room for the rest
    loaded.push_back(models_.find(key(name)));
  }
  std::vector<std::string> missing;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!loaded[i]) {
      missing.push_back(names[i]);
    }
  }
  const int64_t bytes = model_bytes(seed);
  models_.make_room(bytes * static_cast<int64_t>(missing.size()));
  auto read = reading_inputs([&] { return load_models(architecture, zoo_, replicate, missing, device_); });
  for (size_t i = 0, next = 0; i < names.size(); ++i) {
    if (!loaded[i]) {
      loaded[i] = models_.keep(key(names[i]), std::move(read[next++]), bytes);
    }
  }
  return loaded;
}

ZooCache::ZooCache(std::map<std::string, std::string> folders, at::Device device, const MemoryShares& shares,
                   Precision precision, std::map<std::string, SeenPack> packs,
                   std::map<std::string, std::string> external_owners)
    : folders_(std::move(folders)),
      packs_(std::move(packs)),
      external_owners_(std::move(external_owners)),
      device_(device),
      precision_(precision),
      shares_(shares),
      models_(shares.models) {}

OpenZoo& ZooCache::open(const std::string& name) {
  auto it = open_.find(name);
  if (it == open_.end()) {
    const auto pack = packs_.find(name);
    it = open_
             .try_emplace(name, folders_.at(name),
                          pack == packs_.end() ? std::nullopt : std::optional(pack->second), device_,
                          precision_, models_, shares_, external_owners_)
             .first;
  }
  return it->second;
}

}  // namespace fusegrid
