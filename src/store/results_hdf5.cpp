// results.h5 as an HDF5 file: written, read and compared.
#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "core/digest.h"
#include "core/errors.h"
#include "store/hdf5.h"
#include "store/results_file.h"

namespace fusegrid {
namespace {

constexpr auto kResultsFormat = "fusegrid-results";
constexpr int64_t kResultsVersion = 2;

std::string run_name(size_t run) {
  return "run-" + std::to_string(run);
}

// The rows of an index whose `type` is this one ("" where it has no such column) select all of `data`, one behind the
// other.
template <typename T>
void check_spans(const Table& index, const std::vector<T>& data, const std::string& where,
                 const std::string& type = "") {
  uint64_t offset = 0;
  for (size_t row = 0; row < index.num_rows(); ++row) {
    if (!type.empty() && index.text(row, "type") != type) {
      continue;
    }
    const uint64_t count = index.unsigned_integer(row, "count");
    if (index.unsigned_integer(row, "offset") != offset || count > data.size() - offset) {
      throw DataError(where + ": row " + std::to_string(row) + " does not begin where the one before ends");
    }
    offset += count;
  }
  if (offset != data.size()) {
    throw DataError(where + ": the rows cover " + std::to_string(offset) + " of " +
                    std::to_string(data.size()) + " entries");
  }
}

void check_outcomes(const Table& index, const std::string& where) {
  for (size_t row = 0; row < index.num_rows(); ++row) {
    const std::string type = index.text(row, "type");
    const int64_t width = index.integer(row, "width");
    const uint64_t count = index.unsigned_integer(row, "count");
    if ((type != "u8" && type != "f32") || width < 1 || count % static_cast<uint64_t>(width) != 0) {
      throw DataError(where + ": row " + std::to_string(row) +
                      " must have the type u8 or f32 and whole rows, but has '" + type + "', the width " +
                      std::to_string(width) + " and " + std::to_string(count) + " numbers");
    }
  }
}

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

void check_format(const hdf5::Group& root) {
  if (root.text_attribute("format") != kResultsFormat) {
    throw DataError(root.where() + ": the attribute 'format' must be '" + kResultsFormat + "', but it is '" +
                    root.text_attribute("format") + "'");
  }
  if (const int64_t version = root.int_attribute("version"); version != kResultsVersion) {
    throw DataError(
        root.where() + ": this program reads version " + std::to_string(kResultsVersion) +
        " of the format, but the file has version " + std::to_string(version) +
        "; run the job again into another results folder, or use the program that wrote this one");
  }
}

void encode_texts(hdf5::Group& root, const char* name, const TextIndex& texts) {
  auto group = root.create_group(name);
  group.create_table("index", texts.index);
  group.create_array("text", texts.text);
}

void decode_texts(const hdf5::Group& root, const char* name, TextIndex& texts) {
  const auto group = root.group(name);
  texts.index = group.dataset("index").read_table(texts.index.columns());
  texts.text = group.dataset("text").read<uint8_t>();
  check_spans(texts.index, texts.text, group.where());
}

void encode_examples(hdf5::Group& root, const ResultsFile& content) {
  auto outcomes = root.create_group("outcomes");
  outcomes.create_table("index", content.outcomes_index);
  outcomes.create_array("u8", content.outcomes_u8);
  outcomes.create_array("f32", content.outcomes_f32);
  auto predictions = root.create_group("predictions");
  predictions.create_table("index", content.predictions_index);
  predictions.create_array("class", content.predictions);
  auto examples = root.create_group("examples");
  examples.create_table("index", content.examples_index);
  examples.create_array("label", content.labels);
  examples.create_array("group", content.groups);
}

void decode_examples(const hdf5::Group& root, ResultsFile& content) {
  const auto outcomes = root.group("outcomes");
  content.outcomes_index = outcomes.dataset("index").read_table(content.outcomes_index.columns());
  content.outcomes_u8 = outcomes.dataset("u8").read<uint8_t>();
  content.outcomes_f32 = outcomes.dataset("f32").read<float>();
  check_outcomes(content.outcomes_index, outcomes.where());
  check_spans(content.outcomes_index, content.outcomes_u8, outcomes.where(), "u8");
  check_spans(content.outcomes_index, content.outcomes_f32, outcomes.where(), "f32");
  const auto predictions = root.group("predictions");
  content.predictions_index = predictions.dataset("index").read_table(content.predictions_index.columns());
  content.predictions = predictions.dataset("class").read<int32_t>();
  check_spans(content.predictions_index, content.predictions, predictions.where());
  const auto examples = root.group("examples");
  content.examples_index = examples.dataset("index").read_table(content.examples_index.columns());
  content.labels = examples.dataset("label").read<int32_t>();
  content.groups = examples.dataset("group").read<uint32_t>();
  check_spans(content.examples_index, content.labels, examples.where());
  check_spans(content.examples_index, content.groups, examples.where());
}

void decode_provenance(const hdf5::Group& root, ResultsFile& content) {
  const auto group = root.group("provenance");
  for (size_t run = 0; run < content.runs.num_rows(); ++run) {
    const auto dataset = group.dataset(run_name(run));
    const auto bytes = dataset.read<uint8_t>();
    content.provenance.emplace_back(bytes.begin(), bytes.end());
    if (dataset.text_attribute("sha256") != sha256_hex(content.provenance.back())) {
      throw DataError(dataset.where() + ": the text does not have the digest that its attribute names");
    }
  }
}

// So that NaN equals NaN.
std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  bits.reserve(values.size());
  std::transform(values.begin(), values.end(), std::back_inserter(bits),
                 [](float value) { return std::bit_cast<uint32_t>(value); });
  return bits;
}

template <typename T>
void compare(const T& expected, const T& actual, const std::string& where, const std::string& what) {
  if (expected != actual) {
    throw DataError(where + ": " + what + " differs from what the journal says");
  }
}

void compare_tables(const Table& expected, const Table& actual, const std::string& where,
                    const std::string& name) {
  const std::string difference = first_difference(expected, actual);
  if (!difference.empty()) {
    throw DataError(where + ":/" + name + ", " + difference);
  }
}

}  // namespace

std::string encode_results_file(const ResultsFile& content) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", kResultsFormat);
    root.set_attribute("version", kResultsVersion);
    root.set_attribute("generator", "fusegrid");
    root.set_attribute("kind", content.kind);
    root.set_attribute("journal_sequence", static_cast<int64_t>(content.sequence));
    root.set_attribute("metrics_sha256", metrics_digest(content.metrics));
    for (const auto& [name, table] : tables_of_results()) {
      root.create_table(name, content.*table);
    }
    encode_texts(root, "facts", content.facts);
    encode_texts(root, "cell_bindings", content.cell_bindings);
    encode_examples(root, content);
    auto provenance = root.create_group("provenance");
    for (size_t run = 0; run < content.provenance.size(); ++run) {
      auto dataset = provenance.create_array(run_name(run), bytes_of(content.provenance[run]));
      dataset.set_attribute("sha256", sha256_hex(content.provenance[run]));
    }
  }
  return file.finish();
}

ResultsFile decode_results_file(const std::filesystem::path& path) {
  const auto file = hdf5::File::open(path);
  const auto root = file.root();
  check_format(root);
  ResultsFile content;
  content.kind = root.text_attribute("kind");
  content.sequence = static_cast<uint64_t>(root.int_attribute("journal_sequence"));
  for (const auto& [name, table] : tables_of_results()) {
    content.*table = root.dataset(name).read_table((content.*table).columns());
  }
  decode_texts(root, "facts", content.facts);
  decode_texts(root, "cell_bindings", content.cell_bindings);
  decode_examples(root, content);
  decode_provenance(root, content);
  if (root.text_attribute("metrics_sha256") != metrics_digest(content.metrics)) {
    throw DataError(root.where() + "metrics: the rows do not have the digest that the file names");
  }
  return content;
}

void compare_results_files(const ResultsFile& expected, const ResultsFile& actual, const std::string& where) {
  compare(expected.kind, actual.kind, where, "the attribute 'kind'");
  compare(expected.sequence, actual.sequence, where, "the attribute 'journal_sequence'");
  for (const auto& [name, table] : tables_of_results()) {
    compare_tables(expected.*table, actual.*table, where, name);
  }
  compare_tables(expected.facts.index, actual.facts.index, where, "facts/index");
  compare(expected.facts.text, actual.facts.text, where, "/facts/text");
  compare_tables(expected.cell_bindings.index, actual.cell_bindings.index, where, "cell_bindings/index");
  compare(expected.cell_bindings.text, actual.cell_bindings.text, where, "/cell_bindings/text");
  compare_tables(expected.outcomes_index, actual.outcomes_index, where, "outcomes/index");
  compare(expected.outcomes_u8, actual.outcomes_u8, where, "/outcomes/u8");
  compare(bits_of(expected.outcomes_f32), bits_of(actual.outcomes_f32), where, "/outcomes/f32");
  compare_tables(expected.predictions_index, actual.predictions_index, where, "predictions/index");
  compare(expected.predictions, actual.predictions, where, "/predictions/class");
  compare_tables(expected.examples_index, actual.examples_index, where, "examples/index");
  compare(expected.labels, actual.labels, where, "/examples/label");
  compare(expected.groups, actual.groups, where, "/examples/group");
  compare(expected.provenance, actual.provenance, where, "/provenance");
}

}  // namespace fusegrid
