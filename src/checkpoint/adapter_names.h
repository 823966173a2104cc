#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/model_source.h"
#include "checkpoint/name_prefix.h"

namespace fusegrid {

// A tensor that an adapter changes.
struct AdaptedTensor {
  std::string name;            // as in the model that the adapter was trained on
  bool needed = true;          // the base must have it; one that is stored whole may be new
  std::vector<int64_t> sides;  // lengths that its shape must have, in any order; empty: unknown
};

// How the base calls what the adapter changes: by the same names, or with the one prefix that fits the most of them
// ("vision_model." where the adapter was trained on that part of the base). Where two prefixes fit names alike, as
// those of CLIP's towers do, shapes decide. `adapter` is its folder, for messages. Throws ConfigError where the base
// lacks tensors that are needed, or several prefixes fit.
NamePrefix prefix_in_base(const std::string& adapter, const std::vector<AdaptedTensor>& tensors,
                          const ModelSource& base);

}  // namespace fusegrid
