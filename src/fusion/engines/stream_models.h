#pragma once

#include <vector>

#include "checkpoint/model_source.h"

namespace fusegrid {

// The models of one merge as files: the base, if there is one, and the experts. Nothing is owned.
struct StreamModels {
  const ModelSource* base = nullptr;
  std::vector<const ModelSource*> experts;
  std::vector<TensorInfo>
      tensors;  // the floating tensors of all of them, sorted by name; dtype: of the output
  std::vector<at::ScalarType>
      rounded_to;  // of each tensor, see Slice::rounded_to; empty: the dtype of the output

  // The base first, where there is one.
  std::vector<const ModelSource*> sources() const {
    std::vector<const ModelSource*> all = experts;
    if (base != nullptr) {
      all.insert(all.begin(), base);
    }
    return all;
  }
};

}  // namespace fusegrid
