#include "worker/zoo_cache.h"

#include <numeric>

#include "worker/executor.h"

namespace fusegrid {
namespace {

int64_t float_bytes(const Architecture& architecture) {
  const auto infos = architecture.parameters();
  return std::accumulate(infos.begin(), infos.end(), int64_t{0}, [](int64_t sum, const TensorInfo& info) {
    return sum + info.numel() * static_cast<int64_t>(sizeof(float));
  });
}

}  // namespace

OpenZoo::OpenZoo(const std::filesystem::path& folder, at::Device device,
                 LeastRecentlyUsed<LoadedModel>& models, int64_t shifted_bytes)
    : zoo_(Zoo::load(folder)), device_(device), data_(zoo_.pack, device, shifted_bytes), models_(models) {}

const Network& OpenZoo::network(int64_t seed) {
  const Replicate& replicate = zoo_.replicate(seed);
  auto it = networks_.find(replicate.seed);
  if (it == networks_.end()) {
    Network network =
        reading_inputs([&] { return load_network(replicate.base, replicate.heads, zoo_.tasks, device_); });
    it = networks_.emplace(replicate.seed, std::move(network)).first;
  }
  return it->second;
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
  const int64_t bytes = float_bytes(architecture);
  for (size_t i = 0; i < names.size(); ++i) {
    if (!loaded[i]) {
      models_.make_room(bytes);
      loaded[i] = models_.keep(key(names[i]), reading_inputs([&] {
                                 return load_model(architecture, zoo_, replicate, names[i], device_);
                               }),
                               bytes);
    }
  }
  return loaded;
}

ZooCache::ZooCache(std::map<std::string, std::string> folders, at::Device device, const MemoryShares& shares)
    : folders_(std::move(folders)), device_(device), shifted_bytes_(shares.shifted), models_(shares.models) {}

OpenZoo& ZooCache::open(const std::string& name) {
  auto it = open_.find(name);
  if (it == open_.end()) {
    it = open_.try_emplace(name, folders_.at(name), device_, models_, shifted_bytes_).first;
  }
  return it->second;
}

}  // namespace fusegrid
