#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "store/result_store.h"
#include "store/table.h"

namespace fusegrid {

// The content of results.h5 (docs/results_format.md says what each column means).
struct ResultsFile {
  ResultsFile();
  std::string kind;
  uint64_t sequence = 0;  // last frame of the journal that is in the file
  Table metrics;
  Table cells;
  Table logs;
  Table timings;
  Table runs;
  Table facts_index;
  std::vector<uint8_t> facts_text;
  Table outcomes_index;
  std::vector<uint16_t> predictions;
  std::vector<uint8_t> correct;
  std::vector<std::string> provenance;  // JSON text per run
};

// The view of results and runs. /metrics, /facts and /outcomes of it depend on the results alone, in no way
// on timings, attempts, workers or runs.
ResultsFile make_results_file(const std::map<std::string, Result>& results, const std::vector<RunInfo>& runs,
                              uint64_t sequence);

// The HDF5 file; the same content gives the same bytes.
std::string encode_results_file(const ResultsFile& content);

// Throws IoError where the file is missing, DataError where it is damaged or of another format version. The
// HDF5 library may crash on a crafted file: use it through a GuardedReader for files that this process has
// not just written.
ResultsFile decode_results_file(const std::filesystem::path& path);

// DataError naming the first difference between what should be in the file and what is.
void compare_results_files(const ResultsFile& expected, const ResultsFile& actual, const std::string& where);

// The results that the view holds: reasons and logs may have been capped, failed items have no metrics.
std::vector<Result> results_of(const ResultsFile& content);

// SHA-256 over the rows of /metrics as text, see docs/results_format.md.
std::string metrics_digest(const Table& metrics);

}  // namespace fusegrid
