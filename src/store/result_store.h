#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/result.h"

namespace fusegrid {

// One launch of the program on a results folder.
struct RunInfo {
  std::string kind;         // what the items are: "grid" (cells) or "zoo" (experts)
  std::string plan_sha256;  // digest of the sorted item names
  nlohmann::json
      provenance;  // argv, git revision, hosts, devices, library versions, checkpoint digests, threads, ...
};

// The results of one folder. The journal is the truth; results.h5 is a view rebuilt beside it and renamed
// into place. Used by the coordinator rank alone. docs/results_format.md describes the files.
//
//   RESULTS/journal       CRC-framed, append-only; a frame is on disk before record() returns from flush()
//   RESULTS/results.h5    published view
//   RESULTS/lock          held while a coordinator works on the folder
class ResultStore {
 public:
  // Creates the folder or continues the one that is there: takes the lock (IoError naming its holder where
  // another coordinator has it), replays the journal, drops a torn tail, appends the run. A corrupt middle,
  // another format version or another kind is a DataError that names the file and offset; nothing is changed
  // then.
  static std::unique_ptr<ResultStore> open(const std::filesystem::path& folder, const RunInfo& run);

  // Replays the journal without the lock and without changing anything: for report, status and verify.
  static std::unique_ptr<ResultStore> read(const std::filesystem::path& folder);

  virtual ~ResultStore() = default;

  // The newest result of every item, sorted by name.
  virtual const std::map<std::string, Result>& results() const = 0;
  // Every launch so far, oldest first.
  virtual const std::vector<RunInfo>& runs() const = 0;

  // Appends the result to the journal. Exactly once: a later record of an item that is already valid is
  // ignored. Throws IoError (disk full, ...) and leaves the journal at its last whole frame.
  virtual void record(const Result& result) = 0;
  // Group commit: everything recorded so far is on disk when it returns. Only then may a result be
  // acknowledged.
  virtual void flush() = 0;
  // Forgets failed and invalid results, so that they run again (run --retry-failed).
  virtual void forget_failed() = 0;
  // Rewrites results.h5 from results(): temporary file, re-read and compared, fsync, rename, fsync of the
  // folder.
  virtual void publish() = 0;
};

// Digest over /metrics as published: equal for every number of ranks and every history of failures.
std::string metrics_sha256(const std::filesystem::path& results_h5);

// Checks journal and published view against each other in a forked child (a crafted HDF5 file may crash the
// library). Returns the lines to print; throws DataError naming the first fault.
std::vector<std::string> verify_results(const std::filesystem::path& folder);

}  // namespace fusegrid
