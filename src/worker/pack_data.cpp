#include "worker/pack_data.h"

#include <algorithm>

namespace fusegrid {

Examples PackData::examples(const std::string& task, const std::string& split, int64_t count) const {
  auto it = loaded_.find({task, split});
  if (it == loaded_.end()) {
    const Split read = pack_.read(task, split);
    it = loaded_.emplace(std::pair(task, split), Examples{read.images.to(device_), read.labels.to(device_)})
             .first;
  }
  const Examples& all = it->second;
  const int64_t available = all.images.size(0);
  const int64_t used = count < 0 ? available : std::min(count, available);
  return {all.images.narrow(0, 0, used), all.labels.narrow(0, 0, used)};
}

}  // namespace fusegrid
