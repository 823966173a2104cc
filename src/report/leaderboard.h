#pragma once

#include <filesystem>
#include <ostream>

namespace fusegrid {

// Writes leaderboard.md, .csv and .tex into the results folder and prints the table.
void write_report(const std::filesystem::path& results, std::ostream& out);

}  // namespace fusegrid
