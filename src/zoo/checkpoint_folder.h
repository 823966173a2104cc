// Checkpoint folders as zoos read them.
#pragma once

#include <filesystem>

#include "checkpoint/hf_folder.h"

namespace fusegrid {

// Throws as HfFolder. Links are followed where they stay inside: a hub cache is made of them.
HfFolder open_checkpoint(const std::filesystem::path& path);

}  // namespace fusegrid
