#pragma once

#include "fusion/method.h"

namespace fusegrid {

// Whether a StreamEngine can run the method, and so several executors or ranks together: it needs weights alone
// and looks at blocks or tensors of them.
bool can_be_sharded(const MethodCard& card);

}  // namespace fusegrid
