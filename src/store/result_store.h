#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/records.h"

namespace fusegrid {

// The results of one folder. The journal is the truth; results.h5 is a view rebuilt beside it and renamed
// into place. Used by the coordinator rank alone. docs/results_format.md describes the files.
//
//   RESULTS/journal       CRC-framed, append-only; what was recorded is on disk when flush() returns
//   RESULTS/results.h5    published view
//   RESULTS/lock          held while a coordinator works on the folder
class ResultStore {
 public:
  // Creates the folder or continues the one that is there: takes the lock (IoError naming its holder where
  // another coordinator has it), replays the journal, drops a torn tail (one line on stderr), appends the
  // run. A corrupt middle, another format version, another kind, or a results.h5 that does not come from the journal
  // is a DataError that names the file and offset, a binding of another value a ConfigError (check_bindings); no
  // whole frame is changed then. The destructor closes the journal and
  // frees the lock. A program that writes under a file size limit must ignore SIGXFSZ to get an IoError from
  // it.
  static std::unique_ptr<ResultStore> open(const std::filesystem::path& folder, const RunInfo& run);

  // Replays the journal without the lock and without changing anything: for report, status and verify, also
  // while a run writes. IoError where the folder has no journal, DataError where its results.h5 does not come from
  // it. record() and all that writes must not be called on it.
  static std::unique_ptr<ResultStore> read(const std::filesystem::path& folder);

  virtual ~ResultStore() = default;

  virtual const Records& records() const = 0;
  const std::map<std::string, Result>& results() const { return records().results; }
  const std::vector<RunInfo>& runs() const { return records().runs; }

  // Appends the result to the journal. Exactly once: a later record of an item that is already valid is
  // ignored; one of an item that failed or is invalid takes its place (run --retry-failed). Throws IoError (disk full,
  // ...) and leaves the journal at its last whole frame, and DataError for a result that contradicts itself (two values
  // of one metric, outcomes of different lengths, a name with control characters).
  virtual void record(const Result& result) = 0;
  // Labels and groups of an evaluated split, to be recorded before the first result that rests on them. Those that are
  // recorded already are ignored.
  virtual void record_examples(const ExamplesRecord& examples) = 0;
  // The items of a job, sorted: what a report holds its results against.
  virtual void record_plan(const std::string& job, const std::vector<std::string>& items) = 0;
  // Drops these results: they count no longer, and the items may be recorded again. (The journal keeps what it said.)
  virtual void forget(const std::vector<std::string>& names) = 0;
  // Group commit: everything recorded so far is on disk when it returns. Only then may a result be
  // acknowledged.
  virtual void flush() = 0;
  // Rewrites results.h5 from results(): flush, temporary file, fsync, re-read and compared, rename, fsync of
  // the folder. Does nothing where the file is there and up to date. On an IoError the file that was there
  // stays.
  virtual void publish() = 0;
};

// Digest over /metrics as published: equal for every number of ranks and every history of failures. Throws
// IoError where the file is missing, DataError where it is damaged.
std::string metrics_sha256(const std::filesystem::path& results_h5);

// The records in a published file alone, for reports without the journal. Reasons and logs are capped there, failed
// items have neither metrics nor facts. Errors as above.
Records read_results_h5(const std::filesystem::path& results_h5);

// Checks journal and published view against each other, outcomes and facts included, in a process of
// its own (a crafted HDF5 file may crash the library). Returns the lines to print; throws DataError naming the first
// fault.
std::vector<std::string> verify_results(const std::filesystem::path& folder);

}  // namespace fusegrid
