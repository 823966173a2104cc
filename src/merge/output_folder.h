// Whether a merge can be written where it is to be.
#pragma once

#include <cstdint>
#include <filesystem>

namespace fusegrid {

// ConfigError where `out` is no name of a new folder, or is there and not empty, or there is no folder for it.
//   parents_are_made  that folder may be missing as yet
void check_output_folder(const std::filesystem::path& out, bool parents_are_made);

// IoError where so many bytes, less those that a partial folder of an interrupted run already takes, do not fit on the
// disk.
void check_free_space(const std::filesystem::path& out, int64_t bytes);

}  // namespace fusegrid
