#include "store/view.h"

#include <algorithm>

#include "core/digest.h"
#include "core/errors.h"
#include "store/results_file.h"

namespace fusegrid {

std::optional<std::string> view_sha256(const std::filesystem::path& folder) {
  const auto path = folder / "results.h5";
  return std::filesystem::exists(path) ? std::optional(sha256_of_file(path)) : std::nullopt;
}

std::optional<Publication> check_view(const std::filesystem::path& folder, const std::string& sha256,
                                      const Ledger& ledger) {
  const bool known = std::any_of(ledger.publications.begin(), ledger.publications.end(),
                                 [&](const Publication& published) { return published.sha256 == sha256; });
  if (known) {
    return std::nullopt;
  }
  if (sha256_hex(encode_results_file(make_results_file(ledger.records, ledger.changed))) == sha256) {
    return Publication{ledger.changed, sha256};
  }
  throw DataError(
      "'" + (folder / "results.h5").string() + "' was not published from '" + (folder / "journal").string() +
      "', which ends with frame " + std::to_string(ledger.changed) +
      ": the journal was emptied, replaced or put back to an older state, or results.h5 was changed. "
      "Restore the journal that belongs to it, or, where the journal is right, remove results.h5 and "
      "give the run's command again, which publishes from the journal");
}

}  // namespace fusegrid
