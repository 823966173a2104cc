#pragma once

#include <filesystem>
#include <iosfwd>
#include <vector>

#include "core/errors.h"
#include "store/records.h"

namespace fusegrid {

// The results of a folder, from its journal, or from results.h5 where the journal is not there.
//   Throws  ConfigError: the folder holds no results of a grid; DataError: damaged; IoError: cannot read.
Records grid_records(const std::filesystem::path& folder);

// Reads the results of each folder (its journal, or results.h5 where the journal is not there), writes
//
//   leaderboard.md    tables and notes, readable raw and rendered
//   leaderboard.csv   one row per board and method, fractions in full precision, one column per task
//   draws.csv         where experts were drawn at random, one row per number of experts and method, over the draws
//   settings.csv      one row per parameter setting that was tried, for plots of sweeps
//   cells.csv         one row per cell, split and metric, with a column for each parameter
//   leaderboard.tex   the tables for LaTeX (booktabs)
//   costs.md, .csv    seconds, operations and memory of fusion, seconds of evaluation
//   report.html       all of it as one page with plots (report/page.h), where `libraries` has what it needs
//
// into the folder `out`, which is made if need be and may be that of the results: all but the costs and what stands
// below the line "What follows differs from run to run." of the page are the same bytes for every run of the same grid
// on the same kind of device. Of several folders the boards stand in their order, and name them; the CSV files have
// their names in a first column. Each file is written under a temporary name that is renamed when complete. Prints the
// leaderboard's Markdown to `print`. Also while a run still writes to a folder: what is missing is listed. Called by
// one process.
//   libraries  folder of tools/page_libraries
//   Returns    false where it is not there, so that there is no page; one of an earlier report is removed.
//   Throws     ConfigError: a folder holds no grid, or two have one name; DataError: damaged; IoError: cannot read or
//              write.
[[nodiscard]] bool write_report(const std::vector<std::filesystem::path>& results,
                                const std::filesystem::path& out, const std::filesystem::path& libraries,
                                std::ostream& print);

// The same of the results beside the published ones that their job names (report/published.h): published.md, .csv and
// .tex, the Markdown printed. Returns outcome_of() the comparison.
ExitCode write_published_report(const std::filesystem::path& results, const std::filesystem::path& out,
                                std::ostream& print);

}  // namespace fusegrid
