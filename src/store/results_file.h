#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "store/records.h"
#include "store/table.h"

namespace fusegrid {

// Texts of any length by item and key; as a column they would widen every row.
struct TextIndex {
  TextIndex();
  Table index;                // cell, key, offset and count in `text`
  std::vector<uint8_t> text;  // UTF-8
};

// The content of results.h5 (docs/results_format.md says what each column means).
struct ResultsFile {
  ResultsFile();
  std::string kind;
  uint64_t sequence = 0;  // last frame of the journal that is in the file
  Table metrics;
  Table cells;
  Table logs;
  Table costs;
  Table runs;
  Table bindings;
  Table methods;
  Table tasks;
  Table plan;
  TextIndex facts;
  TextIndex cell_bindings;
  Table outcomes_index;
  std::vector<uint8_t> outcomes_u8;
  std::vector<float> outcomes_f32;
  Table predictions_index;
  std::vector<int32_t> predictions;
  Table examples_index;
  std::vector<int32_t> labels;
  std::vector<uint32_t> groups;
  std::vector<std::string> provenance;  // JSON text per run
};

// Name in the file and member of each table that stands alone.
using NamedTable = std::pair<const char*, Table ResultsFile::*>;
const std::vector<NamedTable>& tables_of_results();

// The view of the records. Everything of a result in it but costs, attempts and worker depends on the results
// alone, in no way on the runs that made them.
ResultsFile make_results_file(const Records& records, uint64_t sequence);

// The HDF5 file; the same content gives the same bytes.
std::string encode_results_file(const ResultsFile& content);

// Throws IoError where the file is missing, DataError where it is damaged or of another format version. The
// HDF5 library may crash on a crafted file: use it through a GuardedReader for files that this process has
// not just written.
ResultsFile decode_results_file(const std::filesystem::path& path);

// DataError naming the first difference between what should be in the file and what is.
void compare_results_files(const ResultsFile& expected, const ResultsFile& actual, const std::string& where);

// What the view holds: reasons and logs may have been capped, failed items have no metrics, and methods and tasks
// stand in the newest run.
Records records_of(const ResultsFile& content);

// SHA-256 over the rows of /metrics as text, see docs/results_format.md.
std::string metrics_digest(const Table& metrics);

}  // namespace fusegrid
