#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fusegrid {

// The work of verify_results, in the calling process: a crafted file may crash it.
std::vector<std::string> verify_in_process(const std::filesystem::path& folder);

}  // namespace fusegrid
