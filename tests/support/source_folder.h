#pragma once

#include <filesystem>

namespace fusegrid {

// The root of the repository. A function, not a macro: only one file's compile command names the folder, so that clones
// of the repository share the compiler cache.
std::filesystem::path source_folder();

}  // namespace fusegrid
