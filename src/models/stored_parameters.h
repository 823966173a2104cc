// The parameters of an architecture in a checkpoint, which may hold them under other names or transposed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "checkpoint/model_source.h"
#include "core/weights.h"
#include "models/architecture.h"

namespace fusegrid {

// What a model has under the first of `names` that is there. ConfigError where none of them is, or its shape is not
// `shape`, or its dtype is not floating.
const TensorInfo& stored_tensor(const ModelSource& model, const std::vector<std::string>& names,
                                const std::vector<int64_t>& shape);

// Reads a model in the names and shapes of files as the architecture has its parameters, in the dtypes that it has.
class StoredParameters final : public ModelSource {
 public:
  // ConfigError as stored_tensor(). The model outlives it.
  StoredParameters(const Architecture& architecture, const ModelSource& model);

  std::string name() const override { return model_.name(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const nlohmann::json& config() const override { return model_.config(); }
  void read_range(const std::string& name, int64_t begin, int64_t count, void* destination) const override;
  std::optional<LowRankFactors> factors(const std::string& name) const override;
  void check_unchanged() const override { model_.check_unchanged(); }
  at::Tensor read(const std::string& name) const;  // a whole one, contiguous

 private:
  struct Place {
    const TensorInfo* stored = nullptr;
    bool transposed = false;
  };

  const ModelSource& model_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, Place> places_;
};

// The inverse: parameters as checkpoints hold them, under their own names.
Weights as_stored(const Architecture& architecture, const Weights& parameters);

// The tensors of `model` with these parameters in place of its own: under its names, with all else that it holds (a
// text tower, position ids), but no second copies of a parameter (a tied head). Throws as stored_tensor().
Weights in_place_of(const ModelSource& model, const Architecture& architecture, const Weights& parameters);

}  // namespace fusegrid
