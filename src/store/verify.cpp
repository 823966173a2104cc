#include "store/verify.h"

#include <algorithm>

#include "core/digest.h"
#include "core/errors.h"
#include "core/text.h"
#include "store/guarded_reader.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/result_store.h"
#include "store/results_file.h"

namespace fusegrid {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string counts_text(const std::map<std::string, Result>& results) {
  const auto count = [&](Status status) {
    return std::to_string(std::count_if(results.begin(), results.end(),
                                        [&](const auto& entry) { return entry.second.status == status; }));
  };
  return std::to_string(results.size()) + " results (" + count(Status::kValid) + " valid, " +
         count(Status::kInvalid) + " invalid, " + count(Status::kFailed) + " failed)";
}

std::string torn_text(const JournalEnd& end) {
  return "journal: the last " + std::to_string(end.torn_bytes) + " bytes, from byte " +
         std::to_string(end.size) +
         ", are no whole frame: a run was killed while it wrote, or writes just now; a result that was in "
         "them runs again with the next run";
}

// The journal's state after the frame that the published file names.
Ledger ledger_until(const fs::path& journal, uint64_t sequence) {
  Ledger ledger;
  replay_journal(journal, [&](FrameType type, uint64_t at, const json& payload) {
    if (at <= sequence) {
      ledger.apply(type, at, payload);
    }
  });
  return ledger;
}

void check_bytes(const fs::path& path, const Ledger& ledger, const ResultsFile& content) {
  const auto noted = std::find_if(ledger.publications.begin(), ledger.publications.end(),
                                  [&](const Publication& p) { return p.sequence == content.sequence; });
  if (noted == ledger.publications.end() && content.sequence == ledger.changed) {
    return;  // the run was killed between the rename and its frame in the journal
  }
  if (noted == ledger.publications.end() || sha256_of_file(path) != noted->sha256) {
    throw DataError(
        "'" + path.string() +
        "' is not the file that was published: its digest is not the one in the journal. Remove it "
        "and give the run's command again: it publishes from the journal");
  }
}

std::vector<std::string> verify_view(const fs::path& folder, const Ledger& ledger, const JournalEnd& end) {
  const fs::path path = folder / "results.h5";
  if (!fs::exists(path)) {
    if (!ledger.publications.empty()) {
      throw DataError("'" + path.string() +
                      "' is missing, but the journal says that it was published. Give the run's command "
                      "again: it publishes from the journal");
    }
    return {"results.h5: not published yet"};
  }
  const auto content = decode_results_file(path);
  if (content.sequence > end.sequence) {
    throw DataError("'" + path.string() + "' holds frames up to " + std::to_string(content.sequence) +
                    " of the journal, but the journal ends with frame " + std::to_string(end.sequence) +
                    ": recorded results are lost from it");
  }
  check_bytes(path, ledger, content);
  const auto then = ledger_until(folder / "journal", content.sequence);
  const auto expected = make_results_file(then.records, content.sequence);
  compare_results_files(expected, content, path.string());
  std::vector<std::string> lines = {
      "results.h5: " + counts_text(then.records.results) + ", " + std::to_string(content.metrics.num_rows()) +
      " metrics, equal to the journal; metrics_sha256 " + metrics_digest(content.metrics)};
  if (first_difference(make_results_file(ledger.records, 0).cells, content.cells) != "") {
    lines.emplace_back("results.h5: the journal has newer results, which are not published yet");
  }
  return lines;
}

const GuardedReader verify_guarded("verify", [](const fs::path& folder) {
  return join(verify_in_process(folder), "\n");
});

}  // namespace

std::vector<std::string> verify_in_process(const fs::path& folder) {
  const fs::path journal = folder / "journal";
  if (!fs::exists(journal)) {
    throw IoError("'" + folder.string() + "' holds no results: it has no file 'journal'");
  }
  Ledger ledger;
  const JournalEnd end = replay_journal(
      journal, [&](FrameType type, uint64_t at, const json& payload) { ledger.apply(type, at, payload); });
  std::vector<std::string> lines = {"journal: " + counts_text(ledger.records.results) + " in " +
                                    std::to_string(end.frames) + " frames of " +
                                    std::to_string(ledger.records.runs.size()) + " runs"};
  if (end.torn_bytes > 0) {
    lines.push_back(torn_text(end));
  }
  const auto view = verify_view(folder, ledger, end);
  lines.insert(lines.end(), view.begin(), view.end());
  return lines;
}

std::vector<std::string> verify_results(const fs::path& folder) {
  return split(verify_guarded(folder), '\n');
}

}  // namespace fusegrid
