#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "store/ledger.h"

namespace fusegrid {

// SHA-256 of the folder's results.h5; absent where there is none. To be taken before the journal is read: whoever
// publishes meanwhile notes the older view in the journal first.
std::optional<std::string> view_sha256(const std::filesystem::path& folder);

// Whether the journal knows of this view. It does not where the run was killed between renaming the view into place
// and noting that: then the publication is returned, to be noted now. DataError where the view comes from another
// journal, or from frames that this one has lost.
std::optional<Publication> check_view(const std::filesystem::path& folder, const std::string& sha256,
                                      const Ledger& ledger);

}  // namespace fusegrid
