#include "checkpoint/model_source.h"

#include <algorithm>

namespace fusegrid {

const TensorInfo* find_tensor(const ModelSource& model, const std::string& name) {
  const auto& all = model.tensors();
  const auto it =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const TensorInfo& info, const std::string& key) { return info.name < key; });
  return it != all.end() && it->name == name ? &*it : nullptr;
}

}  // namespace fusegrid
