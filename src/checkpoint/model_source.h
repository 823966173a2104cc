#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/low_rank_factors.h"
#include "core/weights.h"

namespace fusegrid {

// One model that is read in ranges, whatever it is stored as: a checkpoint folder, a base with an adapter on it, or
// several folders of which it is made (model_spec.h). All members may be called from several threads at once.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  virtual std::string name() const = 0;                        // for messages: the folder
  virtual const std::vector<TensorInfo>& tensors() const = 0;  // sorted by name
  // Its configuration, or that of the first of the folders whose layers it has; null where there is none.
  virtual const nlohmann::json& config() const {
    static const nlohmann::json none;
    return none;
  }
  // Copies the elements [begin, begin + count) of tensor `name`, counted in C order and in the dtype of its
  // TensorInfo, to `destination` (count * element size bytes, on the host). Throws IoError, or DataError where
  // the data is damaged.
  virtual void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const = 0;
  // How tensor `name` differs from the base's of that name, where the model is stored as that and not as a whole (an
  // adapter): float32, on the host. read_range() gives their sum.
  virtual std::optional<LowRankFactors> factors(const std::string& /*name*/) const { return std::nullopt; }
  // Throws DataError where a file has changed since it was opened. Call once when all ranges are read.
  virtual void check_unchanged() const = 0;
};

// The tensor of this name, in model.tensors(); null where there is none.
const TensorInfo* find_tensor(const ModelSource& model, const std::string& name);

}  // namespace fusegrid
