#pragma once

#include <string>

namespace fusegrid {

// Options that run the item `name` alone once more: its name as a regular expression that nothing else
// matches, quoted for a shell.
std::string rerun_hint(const std::string& name);

}  // namespace fusegrid
