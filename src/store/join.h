#pragma once

#include <filesystem>
#include <vector>

namespace fusegrid {

// Makes one results folder of several whose results rest on the same models and data: all launches, by the time they
// started, all plans and all results. Of an item that several have, the valid result counts, and of valid ones the one
// that was evaluated on more splits. The folders are only read, and may be those of runs that go on. Called by one
// process.
//   Throws  ConfigError: fewer than two folders, `target` holds something, folders of different kinds, bindings that
//           differ, or results of one item that do; DataError: damaged; IoError: cannot read or write. Nothing is
//           written before all is checked.
void join_results(const std::vector<std::filesystem::path>& folders, const std::filesystem::path& target);

}  // namespace fusegrid
