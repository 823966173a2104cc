#pragma once

#include <filesystem>

namespace fusegrid {

// Makes the names inside `folder` durable, after something in it was created or renamed. Throws IoError.
void sync_folder(const std::filesystem::path& folder);

}  // namespace fusegrid
