#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/model_source.h"

namespace fusegrid {

// Heads of other tasks on one encoder: tensors outside of the layers that not all models have in one shape, together
// with the rest of their module ("classifier", "bert.pooler"). They cannot be merged.
//   allowed  all models are replaced by views of themselves without these modules, and `notes` says so
//   else     ConfigError, where nothing but heads tells the models apart
// So is an output head that some models lack and that is no tied one (merge/tied.h, which comes first).
// Other differences are left to the caller, and so are embeddings and heads of another vocabulary.
void take_heads_apart(std::vector<std::unique_ptr<ModelSource>*> models, bool allowed,
                      std::vector<std::string>& notes);

}  // namespace fusegrid
