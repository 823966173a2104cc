// What results.h5 holds, and back; results_hdf5.cpp writes and reads it.
#include "store/results_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/cell.h"
#include "core/digest.h"
#include "core/errors.h"

namespace fusegrid {
namespace {

using nlohmann::json;

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

void add_texts(const std::string& name, const std::map<std::string, std::string>& texts, TextIndex& into) {
  for (const auto& [key, value] : texts) {
    const std::string text = clean_text(value, kNoLimit);
    into.index.add({clean_text(name, kNoLimit), clean_text(key, kNoLimit), uint64_t{into.text.size()},
                    uint64_t{text.size()}});
    into.text.insert(into.text.end(), text.begin(), text.end());
  }
}

void add_outcomes(const Result& result, ResultsFile& file) {
  auto outcomes = result.outcomes;
  std::sort(outcomes.begin(), outcomes.end(), [](const Outcomes& a, const Outcomes& b) {
    return std::pair(a.split, a.metric) < std::pair(b.split, b.metric);
  });
  for (const auto& o : outcomes) {
    const bool marks = o.are_marks();
    const uint64_t offset = marks ? file.outcomes_u8.size() : file.outcomes_f32.size();
    file.outcomes_index.add({clean_text(result.name, kNoLimit), clean_text(o.split, kNoLimit),
                             clean_text(o.metric, kNoLimit), o.width, std::string(marks ? "u8" : "f32"),
                             offset, uint64_t{o.rows.size()}});
    if (marks) {
      file.outcomes_u8.insert(file.outcomes_u8.end(), o.rows.begin(), o.rows.end());
    } else {
      file.outcomes_f32.insert(file.outcomes_f32.end(), o.rows.begin(), o.rows.end());
    }
  }
}

void add_predictions(const Result& result, ResultsFile& file) {
  auto predictions = result.predictions;
  std::sort(predictions.begin(), predictions.end(),
            [](const Predictions& a, const Predictions& b) { return a.split < b.split; });
  for (const auto& p : predictions) {
    file.predictions_index.add({clean_text(result.name, kNoLimit), clean_text(p.split, kNoLimit),
                                uint64_t{file.predictions.size()}, uint64_t{p.classes.size()}});
    file.predictions.insert(file.predictions.end(), p.classes.begin(), p.classes.end());
  }
}

void add_result(const Result& result, ResultsFile& file) {
  const std::string name = clean_text(result.name, kNoLimit);
  file.cells.add({name, to_string(result.status), clean_text(result.reason, kMaxReason),
                  int64_t{result.transient}, result.attempts, clean_text(result.worker, kNoLimit)});
  if (!result.log_tail.empty()) {  // a table of its own: one long log must not widen the row of every cell
    const size_t excess = result.log_tail.size() > kMaxLog ? result.log_tail.size() - kMaxLog : 0;
    file.logs.add({name, clean_text(result.log_tail.substr(excess), kMaxLog)});
  }
  for (const auto& [cost, value] : result.costs) {
    file.costs.add({name, clean_text(cost, kNoLimit), value});
  }
  add_texts(result.name, result.bindings, file.cell_bindings);
  if (result.status != Status::kFailed) {  // how far a failed item came differs from run to run
    add_metrics(result, file);
    add_texts(result.name, result.facts, file.facts);
    add_outcomes(result, file);
    add_predictions(result, file);
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

void add_launches(const Records& records, ResultsFile& file) {
  for (const auto& run : records.runs) {
    add_run(run, file);
  }
  for (const auto& [key, binding] : records.bindings) {
    file.bindings.add(
        {clean_text(key, kNoLimit), clean_text(binding.value, kNoLimit), static_cast<int64_t>(binding.run)});
  }
  for (const auto& [job, items] : records.plans) {
    for (const auto& item : items) {
      file.plan.add({clean_text(job, kNoLimit), clean_text(item, kNoLimit)});
    }
  }
}

void add_descriptions(const Records& records, ResultsFile& file) {
  for (const auto& [name, m] : records.methods) {
    std::vector<Value> row;
    for (const std::string& text : {m.name, m.title, m.paper, m.family, m.data, m.yields}) {
      row.emplace_back(clean_text(text, kNoLimit));
    }
    row.emplace_back(int64_t{m.told_task});
    file.methods.add(row);
  }
  for (const auto& [key, t] : records.tasks) {
    std::vector<Value> row;
    for (const std::string& text : {t.zoo, t.task, t.kind, t.metric, t.better, t.unit, t.title}) {
      row.emplace_back(clean_text(text, kNoLimit));
    }
    file.tasks.add(row);
  }
  for (const auto& [key, e] : records.examples) {
    file.examples_index.add({clean_text(e.zoo, kNoLimit), clean_text(e.task, kNoLimit),
                             clean_text(e.split, kNoLimit), uint64_t{file.labels.size()},
                             uint64_t{e.labels.size()}});
    file.labels.insert(file.labels.end(), e.labels.begin(), e.labels.end());
    file.groups.insert(file.groups.end(), e.groups.begin(), e.groups.end());
  }
}

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
template <typename To, typename T>
To part_of(const std::vector<T>& data, const Table& index, size_t row) {
  const auto begin = data.begin() + static_cast<int64_t>(index.unsigned_integer(row, "offset"));
  return {begin, begin + static_cast<int64_t>(index.unsigned_integer(row, "count"))};
}

void read_cells(const Table& t, std::map<std::string, Result>& results) {
  for (size_t r = 0; r < t.num_rows(); ++r) {
    Result result;
    result.name = t.text(r, "cell");
    result.status = parse_status(t.text(r, "status"));
    result.reason = t.text(r, "reason");
    result.transient = t.integer(r, "transient") != 0;
    result.attempts = t.integer(r, "attempts");
    result.worker = t.text(r, "worker");
    results[result.name] = std::move(result);
  }
}

void read_numbers(const ResultsFile& content, std::map<std::string, Result>& results) {
  for_rows(content.metrics, results, [](const Table& t, size_t r, Result& result) {
    result.metrics.push_back(
        {t.text(r, "metric"), t.text(r, "split"), t.real(r, "value"), t.integer(r, "count")});
  });
  for_rows(content.outcomes_index, results, [&](const Table& t, size_t r, Result& result) {
    using Rows = std::vector<float>;
    result.outcomes.push_back({t.text(r, "split"), t.text(r, "metric"), t.integer(r, "width"),
                               t.text(r, "type") == "u8" ? part_of<Rows>(content.outcomes_u8, t, r)
                                                         : part_of<Rows>(content.outcomes_f32, t, r)});
  });
  for_rows(content.predictions_index, results, [&](const Table& t, size_t r, Result& result) {
    result.predictions.push_back(
        {t.text(r, "split"), part_of<std::vector<int32_t>>(content.predictions, t, r)});
  });
}

void read_texts(const ResultsFile& content, std::map<std::string, Result>& results) {
  for_rows(content.logs, results,
           [](const Table& t, size_t r, Result& result) { result.log_tail = t.text(r, "log_tail"); });
  for_rows(content.costs, results, [](const Table& t, size_t r, Result& result) {
    result.costs[t.text(r, "cost")] = t.real(r, "value");
  });
  for_rows(content.facts.index, results, [&](const Table& t, size_t r, Result& result) {
    result.facts[t.text(r, "key")] = part_of<std::string>(content.facts.text, t, r);
  });
  for_rows(content.cell_bindings.index, results, [&](const Table& t, size_t r, Result& result) {
    result.bindings[t.text(r, "key")] = part_of<std::string>(content.cell_bindings.text, t, r);
  });
}

void read_runs(const ResultsFile& content, Records& records) {
  for (size_t r = 0; r < content.runs.num_rows(); ++r) {
    records.runs.push_back({content.runs.text(r, "kind"),
                            content.runs.text(r, "plan_sha256"),
                            json::parse(content.provenance.at(r)),
                            {},
                            {},
                            {}});
  }
  for (size_t r = 0; r < content.bindings.num_rows(); ++r) {
    const auto& t = content.bindings;
    const auto run = static_cast<size_t>(t.integer(r, "run"));
    if (run >= records.runs.size()) {
      throw DataError("/bindings names the run " + std::to_string(run) + ", which /runs has not");
    }
    records.runs[run].bindings[t.text(r, "key")] = t.text(r, "value");
    records.bindings[t.text(r, "key")] = {t.text(r, "value"), run};
  }
  for (size_t r = 0; r < content.plan.num_rows(); ++r) {
    records.plans[content.plan.text(r, "job")].push_back(content.plan.text(r, "cell"));
  }
}

void read_descriptions(const ResultsFile& content, Records& records) {
  for (size_t r = 0; r < content.methods.num_rows(); ++r) {
    const auto& t = content.methods;
    records.methods[t.text(r, "name")] = {t.text(r, "name"),
                                          t.text(r, "title"),
                                          t.text(r, "paper"),
                                          t.text(r, "family"),
                                          t.text(r, "data"),
                                          t.text(r, "yields"),
                                          t.integer(r, "told_task") != 0};
  }
  for (size_t r = 0; r < content.tasks.num_rows(); ++r) {
    const auto& t = content.tasks;
    records.tasks[{t.text(r, "zoo"), t.text(r, "task")}] = {
        t.text(r, "zoo"),    t.text(r, "task"), t.text(r, "kind"), t.text(r, "metric"),
        t.text(r, "better"), t.text(r, "unit"), t.text(r, "title")};
  }
  for (size_t r = 0; r < content.examples_index.num_rows(); ++r) {
    const auto& t = content.examples_index;
    ExamplesRecord examples{t.text(r, "zoo"), t.text(r, "task"), t.text(r, "split"),
                            part_of<std::vector<int32_t>>(content.labels, t, r),
                            part_of<std::vector<uint32_t>>(content.groups, t, r)};
    records.examples.emplace(examples.key(), std::move(examples));
  }
}

}  // namespace

TextIndex::TextIndex()
    : index({{"cell", kText}, {"key", kText}, {"offset", kUnsigned}, {"count", kUnsigned}}) {}

ResultsFile::ResultsFile()
    : metrics(metrics_columns()),
      cells({{"cell", kText},
             {"status", kText},
             {"reason", kText},
             {"transient", kInt},
             {"attempts", kInt},
             {"worker", kText}}),
      logs({{"cell", kText}, {"log_tail", kText}}),
      costs({{"cell", kText}, {"cost", kText}, {"value", kReal}}),
      runs({{"run", kInt},
            {"kind", kText},
            {"plan_sha256", kText},
            {"started", kText},
            {"git", kText},
            {"argv", kText}}),
      bindings({{"key", kText}, {"value", kText}, {"run", kInt}}),
      methods({{"name", kText},
               {"title", kText},
               {"paper", kText},
               {"family", kText},
               {"data", kText},
               {"yields", kText},
               {"told_task", kInt}}),
      tasks({{"zoo", kText},
             {"task", kText},
             {"kind", kText},
             {"metric", kText},
             {"better", kText},
             {"unit", kText},
             {"title", kText}}),
      plan({{"job", kText}, {"cell", kText}}),
      outcomes_index({{"cell", kText},
                      {"split", kText},
                      {"metric", kText},
                      {"width", kInt},
                      {"type", kText},
                      {"offset", kUnsigned},
                      {"count", kUnsigned}}),
      predictions_index({{"cell", kText}, {"split", kText}, {"offset", kUnsigned}, {"count", kUnsigned}}),
      examples_index(
          {{"zoo", kText}, {"task", kText}, {"split", kText}, {"offset", kUnsigned}, {"count", kUnsigned}}) {}

const std::vector<NamedTable>& tables_of_results() {
  static const std::vector<NamedTable> tables = {
      {"metrics", &ResultsFile::metrics}, {"cells", &ResultsFile::cells},
      {"logs", &ResultsFile::logs},       {"costs", &ResultsFile::costs},
      {"runs", &ResultsFile::runs},       {"bindings", &ResultsFile::bindings},
      {"methods", &ResultsFile::methods}, {"tasks", &ResultsFile::tasks},
      {"plan", &ResultsFile::plan}};
  return tables;
}

ResultsFile make_results_file(const Records& records, uint64_t sequence) {
  ResultsFile file;
  file.kind = records.kind();
  file.sequence = sequence;
  for (const auto& [name, result] : records.results) {
    add_result(result, file);
  }
  add_launches(records, file);
  add_descriptions(records, file);
  return file;
}

Records records_of(const ResultsFile& content) {
  Records records;
  read_cells(content.cells, records.results);
  read_numbers(content, records.results);
  read_texts(content, records.results);
  read_runs(content, records);
  read_descriptions(content, records);
  if (!records.runs.empty()) {
    for (const auto& [name, method] : records.methods) {
      records.runs.back().methods.push_back(method);
    }
    for (const auto& [key, task] : records.tasks) {
      records.runs.back().tasks.push_back(task);
    }
  }
  return records;
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
