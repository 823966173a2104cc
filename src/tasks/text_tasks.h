#pragma once

#include <vector>

#include "tasks/suite.h"

namespace fusegrid {

// The tasks of the text packs (docs/packs.md, "The text suites"), those that small models learn first. The order
// alternates definitions, names and spelled words, so that "the first three experts" is a mixed set.
const std::vector<TaskCard>& learnable_text_tasks();
std::vector<TaskCard> all_text_tasks();

}  // namespace fusegrid
