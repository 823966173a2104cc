#pragma once

#include <map>
#include <memory>
#include <string>

#include "checkpoint/model_source.h"

namespace fusegrid {

// A model whose tensors have other names, or of which some are left out. names: new -> its own.
std::unique_ptr<ModelSource> relabelled(std::unique_ptr<ModelSource> model,
                                        std::map<std::string, std::string> names);

}  // namespace fusegrid
