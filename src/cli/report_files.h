#pragma once

#include <filesystem>
#include <vector>

#include "cli/program.h"

namespace fusegrid {

// The files of report/leaderboard.h, for the commands that write them; says on stderr where there can be no page, and
// what brings it.
void report_results(const std::vector<std::filesystem::path>& results, const std::filesystem::path& out,
                    Invocation& in);

}  // namespace fusegrid
