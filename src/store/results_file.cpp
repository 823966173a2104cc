#include "store/results_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/cell.h"
#include "core/digest.h"
#include "core/errors.h"
#include "store/hdf5.h"

namespace fusegrid {
namespace {

using nlohmann::json;

constexpr auto kFormat = "fusegrid-results";
constexpr int64_t kVersion = 1;
constexpr size_t kMaxReason = 500;  // bytes; the journal keeps the whole
constexpr size_t kMaxLog = 4000;
constexpr size_t kNoLimit = std::string::npos;

using enum ColumnType;

const std::vector<ColumnSpec>& metrics_columns() {
  static const std::vector<ColumnSpec> columns = {
      {"cell", kText},  {"zoo", kText},  {"experts", kText}, {"method", kText}, {"parameters", kText},
      {"seed", kInt},   {"task", kText}, {"shift", kText},   {"split", kText},  {"metric", kText},
      {"value", kReal}, {"count", kInt}, {"status", kText}};
  return columns;
}

// The identity of an item; empty where it is not a cell.
Cell cell_of(const std::string& kind, const std::string& name) {
  Cell none;
  none.shift.clear();
  if (kind != "grid") {
    return none;
  }
  try {
    const Cell cell = Cell::parse(name);
    return cell.name() == name ? cell : none;
  } catch (const ConfigError&) {
    return none;
  }
}

void add_metrics(const Result& result, ResultsFile& file) {
  auto metrics = result.metrics;
  std::sort(metrics.begin(), metrics.end(), [](const Metric& a, const Metric& b) {
    return std::pair(a.name, a.split) < std::pair(b.name, b.split);
  });
  const Cell cell = cell_of(file.kind, result.name);
  for (const auto& m : metrics) {
    std::vector<Value> row;
    for (const std::string& text : {result.name, cell.zoo, cell.experts, cell.method, cell.parameters}) {
      row.emplace_back(clean_text(text, kNoLimit));
    }
    row.emplace_back(cell.seed);
    for (const std::string& text : {cell.task, cell.shift, m.split, m.name}) {
      row.emplace_back(clean_text(text, kNoLimit));
    }
    row.insert(row.end(), {m.value, m.count, to_string(result.status)});
    file.metrics.add(row);
  }
}

void add_facts(const Result& result, ResultsFile& file) {
  for (const auto& [key, value] : result.facts) {
    const std::string text = clean_text(value, kNoLimit);
    file.facts_index.add({clean_text(result.name, kNoLimit), clean_text(key, kNoLimit),
                          uint64_t{file.facts_text.size()}, uint64_t{text.size()}});
    file.facts_text.insert(file.facts_text.end(), text.begin(), text.end());
  }
}

void add_outcomes(const Result& result, ResultsFile& file) {
  auto outcomes = result.outcomes;
  std::sort(outcomes.begin(), outcomes.end(),
            [](const Outcomes& a, const Outcomes& b) { return a.split < b.split; });
  for (const auto& o : outcomes) {
    file.outcomes_index.add({clean_text(result.name, kNoLimit), clean_text(o.split, kNoLimit),
                             uint64_t{file.predictions.size()}, uint64_t{o.predictions.size()}});
    file.predictions.insert(file.predictions.end(), o.predictions.begin(), o.predictions.end());
    file.correct.insert(file.correct.end(), o.correct.begin(), o.correct.end());
  }
}

void add_result(const Result& result, ResultsFile& file) {
  const std::string name = clean_text(result.name, kNoLimit);
  file.cells.add({name, to_string(result.status), clean_text(result.reason, kMaxReason), result.attempts,
                  clean_text(result.worker, kNoLimit)});
  if (!result.log_tail.empty()) {  // a table of its own: one long log must not widen the row of every cell
    const size_t excess = result.log_tail.size() > kMaxLog ? result.log_tail.size() - kMaxLog : 0;
    file.logs.add({name, clean_text(result.log_tail.substr(excess), kMaxLog)});
  }
  for (const auto& [phase, seconds] : result.timings) {
    file.timings.add({name, clean_text(phase, kNoLimit), seconds});
  }
  if (result.status != Status::kFailed) {  // how far a failed item came differs from run to run
    add_metrics(result, file);
    add_facts(result, file);
    add_outcomes(result, file);
  }
}

std::string provenance_text(const json& provenance, const char* key) {
  const auto value = provenance.is_object() ? provenance.find(key) : provenance.end();
  if (!provenance.is_object() || value == provenance.end()) {
    return {};
  }
  const auto text = value->is_string() ? value->get<std::string>()
                                       : value->dump(-1, ' ', false, json::error_handler_t::replace);
  return clean_text(text, kMaxLog);
}

void add_run(const RunInfo& run, ResultsFile& file) {
  file.runs.add({static_cast<int64_t>(file.runs.num_rows()), clean_text(run.kind, kNoLimit),
                 clean_text(run.plan_sha256, kNoLimit), provenance_text(run.provenance, "started"),
                 provenance_text(run.provenance, "git"), provenance_text(run.provenance, "argv")});
  file.provenance.push_back(run.provenance.dump(1, ' ', false, json::error_handler_t::replace));
}

std::string run_name(size_t run) {
  return "run-" + std::to_string(run);
}

template <typename T>
void check_spans(const Table& index, const std::vector<T>& data, const std::string& where) {
  uint64_t offset = 0;
  for (size_t row = 0; row < index.num_rows(); ++row) {
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

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

void check_format(const hdf5::Group& root) {
  if (root.text_attribute("format") != kFormat) {
    throw DataError(root.where() + ": the attribute 'format' must be '" + kFormat + "', but it is '" +
                    root.text_attribute("format") + "'");
  }
  if (const int64_t version = root.int_attribute("version"); version != kVersion) {
    throw DataError(root.where() + ": this program reads version " + std::to_string(kVersion) +
                    " of the format, but the file has version " + std::to_string(version) +
                    "; use the program that wrote it");
  }
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

ResultsFile::ResultsFile()
    : metrics(metrics_columns()),
      cells({{"cell", kText}, {"status", kText}, {"reason", kText}, {"attempts", kInt}, {"worker", kText}}),
      logs({{"cell", kText}, {"log_tail", kText}}),
      timings({{"cell", kText}, {"phase", kText}, {"seconds", kReal}}),
      runs({{"run", kInt},
            {"kind", kText},
            {"plan_sha256", kText},
            {"started", kText},
            {"git", kText},
            {"argv", kText}}),
      facts_index({{"cell", kText}, {"key", kText}, {"offset", kUnsigned}, {"count", kUnsigned}}),
      outcomes_index({{"cell", kText}, {"split", kText}, {"offset", kUnsigned}, {"count", kUnsigned}}) {}

ResultsFile make_results_file(const std::map<std::string, Result>& results, const std::vector<RunInfo>& runs,
                              uint64_t sequence) {
  ResultsFile file;
  file.kind = runs.empty() ? std::string() : runs.back().kind;
  file.sequence = sequence;
  for (const auto& [name, result] : results) {
    add_result(result, file);
  }
  for (const auto& run : runs) {
    add_run(run, file);
  }
  return file;
}

std::string encode_results_file(const ResultsFile& content) {
  auto file = hdf5::File::create();
  {
    auto root = file.root();
    root.set_attribute("format", kFormat);
    root.set_attribute("version", kVersion);
    root.set_attribute("generator", "fusegrid");
    root.set_attribute("kind", content.kind);
    root.set_attribute("journal_sequence", static_cast<int64_t>(content.sequence));
    root.set_attribute("metrics_sha256", metrics_digest(content.metrics));
    root.create_table("metrics", content.metrics);
    root.create_table("cells", content.cells);
    root.create_table("logs", content.logs);
    root.create_table("timings", content.timings);
    root.create_table("runs", content.runs);
    auto facts = root.create_group("facts");
    facts.create_table("index", content.facts_index);
    facts.create_array("text", content.facts_text);
    auto outcomes = root.create_group("outcomes");
    outcomes.create_table("index", content.outcomes_index);
    outcomes.create_array("prediction", content.predictions);
    outcomes.create_array("correct", content.correct);
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
  for (auto [name, table] : {std::pair{"metrics", &content.metrics},
                             {"cells", &content.cells},
                             {"logs", &content.logs},
                             {"timings", &content.timings},
                             {"runs", &content.runs}}) {
    *table = root.dataset(name).read_table(table->columns());
  }
  const auto facts = root.group("facts");
  content.facts_index = facts.dataset("index").read_table(content.facts_index.columns());
  content.facts_text = facts.dataset("text").read<uint8_t>();
  const auto outcomes = root.group("outcomes");
  content.outcomes_index = outcomes.dataset("index").read_table(content.outcomes_index.columns());
  content.predictions = outcomes.dataset("prediction").read<uint16_t>();
  content.correct = outcomes.dataset("correct").read<uint8_t>();
  check_spans(content.facts_index, content.facts_text, facts.where());
  check_spans(content.outcomes_index, content.predictions, outcomes.where());
  check_spans(content.outcomes_index, content.correct, outcomes.where());
  decode_provenance(root, content);
  if (root.text_attribute("metrics_sha256") != metrics_digest(content.metrics)) {
    throw DataError(root.where() + "metrics: the rows do not have the digest that the file names");
  }
  return content;
}

void compare_results_files(const ResultsFile& expected, const ResultsFile& actual, const std::string& where) {
  compare(expected.kind, actual.kind, where, "the attribute 'kind'");
  compare(expected.sequence, actual.sequence, where, "the attribute 'journal_sequence'");
  compare_tables(expected.metrics, actual.metrics, where, "metrics");
  compare_tables(expected.cells, actual.cells, where, "cells");
  compare_tables(expected.logs, actual.logs, where, "logs");
  compare_tables(expected.timings, actual.timings, where, "timings");
  compare_tables(expected.runs, actual.runs, where, "runs");
  compare_tables(expected.facts_index, actual.facts_index, where, "facts/index");
  compare(expected.facts_text, actual.facts_text, where, "/facts/text");
  compare_tables(expected.outcomes_index, actual.outcomes_index, where, "outcomes/index");
  compare(expected.predictions, actual.predictions, where, "/outcomes/prediction");
  compare(expected.correct, actual.correct, where, "/outcomes/correct");
  compare(expected.provenance, actual.provenance, where, "/provenance");
}

namespace {

// Calls `add` with each row and the result that it belongs to.
template <typename Add>
void for_rows(const Table& table, std::map<std::string, Result>& results, const Add& add) {
  for (size_t row = 0; row < table.num_rows(); ++row) {
    const auto owner = results.find(table.text(row, "cell"));
    if (owner == results.end()) {
      throw DataError("/cells has no row of '" + table.text(row, "cell") + "'");
    }
    add(table, row, owner->second);
  }
}

// What row `row` of an index selects from `data`; the index was checked when it was read.
template <typename T>
std::vector<T> part_of(const std::vector<T>& data, const Table& index, size_t row) {
  const auto begin = data.begin() + static_cast<int64_t>(index.unsigned_integer(row, "offset"));
  return {begin, begin + static_cast<int64_t>(index.unsigned_integer(row, "count"))};
}

}  // namespace

std::vector<Result> results_of(const ResultsFile& content) {
  std::map<std::string, Result> results;
  for (size_t r = 0; r < content.cells.num_rows(); ++r) {
    const auto& t = content.cells;
    Result result;
    result.name = t.text(r, "cell");
    result.status = parse_status(t.text(r, "status"));
    result.reason = t.text(r, "reason");
    result.attempts = t.integer(r, "attempts");
    result.worker = t.text(r, "worker");
    results[result.name] = std::move(result);
  }
  for_rows(content.metrics, results, [](const Table& t, size_t r, Result& result) {
    result.metrics.push_back(
        {t.text(r, "metric"), t.text(r, "split"), t.real(r, "value"), t.integer(r, "count")});
  });
  for_rows(content.logs, results,
           [](const Table& t, size_t r, Result& result) { result.log_tail = t.text(r, "log_tail"); });
  for_rows(content.timings, results, [](const Table& t, size_t r, Result& result) {
    result.timings[t.text(r, "phase")] = t.real(r, "seconds");
  });
  for_rows(content.facts_index, results, [&](const Table& t, size_t r, Result& result) {
    const auto bytes = part_of(content.facts_text, t, r);
    result.facts[t.text(r, "key")] = std::string(bytes.begin(), bytes.end());
  });
  for_rows(content.outcomes_index, results, [&](const Table& t, size_t r, Result& result) {
    result.outcomes.push_back(
        {t.text(r, "split"), part_of(content.predictions, t, r), part_of(content.correct, t, r)});
  });
  std::vector<Result> sorted;
  for (auto& [name, result] : results) {
    sorted.push_back(std::move(result));
  }
  return sorted;
}

std::string metrics_digest(const Table& metrics) {
  Sha256 hash;
  for (size_t row = 0; row < metrics.num_rows(); ++row) {
    for (size_t column = 0; column < metrics.columns().size(); ++column) {
      const Value value = metrics.value(row, column);
      std::string text;
      if (const auto* real = std::get_if<double>(&value)) {
        const auto bytes = std::bit_cast<std::array<uint8_t, 8>>(*real);
        for (const uint8_t byte : bytes) {
          constexpr std::string_view kDigits = "0123456789abcdef";
          text += kDigits[byte >> 4];
          text += kDigits[byte & 15];
        }
      } else if (const auto* integer = std::get_if<int64_t>(&value)) {
        text = std::to_string(*integer);
      } else {
        text = std::get<std::string>(value);
      }
      hash.update(text + (column + 1 < metrics.columns().size() ? "\t" : "\n"));
    }
  }
  return hash.hex();
}

}  // namespace fusegrid
