#pragma once

#include "models/inputs.h"
#include "store/task_pack.h"

namespace fusegrid {

// A split of a pack as models see it, on `device`; not copied where it is there. tokens: the pack's table; rows of
// tokens are filled up with its pad.
Examples examples_of(const Split& split, const TokenTable* tokens, at::Device device);

}  // namespace fusegrid
