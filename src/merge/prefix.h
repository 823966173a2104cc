#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/model_source.h"

namespace fusegrid {

// `expert` under the names of `reference`, where one prefix (checkpoint/name_prefix.h) tells the two namings apart;
// `notes` says so. Tensors that it does not explain keep their names. `expert` itself where the names are alike, or
// where no prefix explains most of them.
std::unique_ptr<ModelSource> with_names_of(const ModelSource& reference, std::unique_ptr<ModelSource> expert,
                                           std::vector<std::string>& notes);

}  // namespace fusegrid
