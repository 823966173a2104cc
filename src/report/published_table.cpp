#include "report/published_table.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "metrics/metric.h"
#include "report/layout.h"

namespace fusegrid {
namespace {

// Columns that are no tasks. Those of the first kind must be there.
const std::vector<std::string> kNeeded = {"kind", "row", "cells", "tolerance", "average"};
const std::vector<std::string> kOptional = {"zoo", "experts", "shift", "unseen", "source", "note"};
const std::vector<std::string> kAboutTasks = {"metric", "examples", "tolerance", "test-trained"};
const std::vector<std::string> kOfRows = {"percent", "fraction", "count"};

bool is_one_of(const std::string& name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// A metric that is the share of right answers.
bool counts_answers(const std::string& metric) {
  return metric == "accuracy" || metric == "exact_match";
}

// The fields of one line of a CSV file (RFC 4180; no field has a line break). nullopt: a quote is not closed.
std::optional<std::vector<std::string>> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      fields.back() += line[i++];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back() += line[i];
    }
  }
  return quoted ? std::nullopt : std::optional(fields);
}

class TableReader {
 public:
  explicit TableReader(const std::string& file) { table_.file = file; }

  PublishedTable read(const std::string& text);

 private:
  using Fields = std::map<std::string, std::string>;  // by column

  [[noreturn]] void fail(const std::string& message) const {
    throw ConfigError(table_.file + ":" + std::to_string(line_) + ": " + message);
  }
  void read_line(const std::string& line);
  void read_header(const std::vector<std::string>& columns);
  void read_about_tasks(const std::string& kind, const Fields& fields);
  void read_row(const std::string& kind, const Fields& fields);
  std::optional<PublishedNumber> read_number(const std::string& kind, const Fields& fields,
                                             const std::string& column, const std::string& metric,
                                             std::optional<int64_t> examples) const;
  double parse(const std::string& text, const std::string& column) const;
  void check_metrics() const;
  void finish() const;

  PublishedTable table_;
  std::vector<std::string> columns_;
  Fields tolerances_;
  std::set<std::string> about_tasks_;
  int line_ = 0;
};

PublishedTable TableReader::read(const std::string& text) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    ++line_;
    read_line(trim(line));
  }
  finish();
  return std::move(table_);
}

void TableReader::read_line(const std::string& line) {
  if (line.empty()) {
    return;
  }
  if (line.front() == '#') {
    if (!columns_.empty()) {
      fail("comments stand above the line of columns; write it into the column 'note'");
    }
    const std::string comment = trim(line.substr(1));
    if (table_.title.empty()) {
      table_.title = comment;
    } else {
      table_.remarks.push_back(comment);
    }
    return;
  }
  const auto read = fields_of(line);
  if (!read) {
    fail("a quote is not closed");
  }
  if (columns_.empty()) {
    return read_header(*read);
  }
  if (read->size() != columns_.size()) {
    fail("a line must have " + std::to_string(columns_.size()) +
         " fields, as many as there are columns, but it has " + std::to_string(read->size()));
  }
  Fields fields;
  for (size_t i = 0; i < columns_.size(); ++i) {
    fields[columns_[i]] = trim((*read)[i]);
  }
  const std::string kind = fields.at("kind");
  if (is_one_of(kind, kAboutTasks)) {
    read_about_tasks(kind, fields);
  } else if (is_one_of(kind, kOfRows)) {
    read_row(kind, fields);
  } else {
    std::vector<std::string> known = kAboutTasks;
    known.insert(known.end(), kOfRows.begin(), kOfRows.end());
    fail("there is no kind of line '" + kind + "'" + alternatives(kind, known));
  }
}

void TableReader::read_header(const std::vector<std::string>& columns) {
  for (const std::string& column : columns) {
    const std::string name = trim(column);
    if (name.empty() || is_one_of(name, columns_)) {
      fail("each column must have a name of its own, but one has the name '" + name + "'");
    }
    columns_.push_back(name);
    if (!is_one_of(name, kNeeded) && !is_one_of(name, kOptional)) {
      table_.tasks.push_back(name);
    }
  }
  for (const std::string& name : kNeeded) {
    if (!is_one_of(name, columns_)) {
      fail("the column '" + name + "' is missing; the first line that is no comment names the columns");
    }
  }
  if (table_.tasks.empty()) {
    fail("there must be a column for each task, named as the task");
  }
  table_.has_unseen = is_one_of("unseen", columns_);
  table_.metrics.resize(table_.tasks.size());
  table_.examples.resize(table_.tasks.size());
  table_.test_trained.resize(table_.tasks.size(), false);
}

double TableReader::parse(const std::string& text, const std::string& column) const {
  try {
    return parse_double(text, "'" + column + "'");
  } catch (const ConfigError& error) {
    fail(error.what());
  }
}

void TableReader::read_about_tasks(const std::string& kind, const Fields& fields) {
  if (!table_.rows.empty()) {
    fail("lines about tasks stand above the rows, but '" + kind + "' is below one");
  }
  if (!about_tasks_.insert(kind).second) {
    fail("there is a line '" + kind + "' already; remove one of the two");
  }
  if (kind == "tolerance") {
    tolerances_ = fields;
    return;
  }
  for (size_t task = 0; task < table_.tasks.size(); ++task) {
    const std::string& name = table_.tasks[task];
    const std::string& text = fields.at(name);
    if (kind == "metric") {
      table_.metrics[task] = text;
    } else if (kind == "examples" && !text.empty()) {
      const double count = parse(text, name);
      if (!(count >= 1 && count <= 1e9 && count == static_cast<double>(static_cast<int64_t>(count)))) {
        fail("'" + name + "' must be a whole number of test examples, but it is " + text);
      }
      table_.examples[task] = static_cast<int64_t>(count);
    } else if (kind == "test-trained" && !text.empty()) {
      if (text != "yes" && text != "no") {
        fail("'" + name + "' must be yes or no, but it is '" + text + "'");
      }
      table_.test_trained[task] = text == "yes";
    }
  }
}

std::optional<PublishedNumber> TableReader::read_number(const std::string& kind, const Fields& fields,
                                                        const std::string& column, const std::string& metric,
                                                        std::optional<int64_t> examples) const {
  const std::string& text = fields.at(column);
  if (text.empty()) {
    return std::nullopt;
  }
  const double value = parse(text, column);
  const PublishedUnit unit = published_unit(metric);
  PublishedNumber number{.points = kind == "fraction" ? unit.points * value : value};
  if (kind == "count" && counts_answers(metric)) {
    if (!examples) {
      fail("right answers of '" + column + "' need the number of its test examples in the line 'examples'");
    }
    if (!(value >= 0 && value <= static_cast<double>(*examples) &&
          value == static_cast<double>(static_cast<int64_t>(value)))) {
      fail("'" + column + "' must be a whole number of right answers of " + number_text(*examples) +
           " examples, but it is " + text);
    }
    number.right = value;
    number.points = 100 * value / static_cast<double>(*examples);
  }
  if (!(std::abs(number.points) <= unit.farthest)) {
    fail("'" + column + "' must lie within " + number_text(unit.farthest) + " points, but it is " +
         number_text(number.points) + "; 'kind' says what the numbers of a row are");
  }
  number.text = kind == "percent" ? text : fixed(number.points, 2);
  // A row's own tolerance is in the unit of its numbers: right answers where these are published.
  const bool own = !fields.at("tolerance").empty() && (kind != "count" || number.right);
  const auto of_column = tolerances_.find(column);
  const std::string allowed = own                              ? fields.at("tolerance")
                              : of_column == tolerances_.end() ? ""
                                                               : of_column->second;
  if (allowed.empty()) {
    fail("'" + column +
         "' needs a tolerance, in the column 'tolerance' or in a line of that kind above the rows");
  }
  number.tolerance = parse(allowed, "tolerance");
  if (!(number.tolerance >= 0)) {
    fail("a tolerance must be at least 0, but it is " + allowed);
  }
  if (number.right && !own) {  // that of the column is in points
    number.tolerance *= static_cast<double>(*examples) / 100;
  }
  return number;
}

void TableReader::check_metrics() const {
  for (size_t task = 0; task < table_.tasks.size(); ++task) {
    if (table_.metrics[task].empty()) {
      fail("a line 'metric' above the rows must give the metric of '" + table_.tasks[task] + "'");
    }
  }
}

void TableReader::read_row(const std::string& kind, const Fields& fields) {
  check_metrics();
  const auto optional = [&](const std::string& column) {
    const auto found = fields.find(column);
    return found == fields.end() ? std::string() : found->second;
  };
  PublishedRow row;
  row.title = fields.at("row");
  row.cells = fields.at("cells");
  row.zoo = optional("zoo");
  row.experts = optional("experts");
  row.shift = optional("shift");
  row.source = optional("source");
  row.note = optional("note");
  row.line = line_;
  if (row.title.empty()) {
    fail("a row must have a name in the column 'row'");
  }
  for (const PublishedRow& other : table_.rows) {
    if (other.title == row.title && other.zoo == row.zoo && other.experts == row.experts &&
        other.shift == row.shift) {
      fail("the row '" + row.title + "' is already in line " + std::to_string(other.line) +
           "; give one of them another name");
    }
  }
  bool any = false;
  for (size_t task = 0; task < table_.tasks.size(); ++task) {
    row.by_task.push_back(
        read_number(kind, fields, table_.tasks[task], table_.metrics[task], table_.examples[task]));
    any = any || row.by_task.back();
  }
  row.average = read_number(kind, fields, "average", "", std::nullopt);
  row.unseen = table_.has_unseen ? read_number(kind, fields, "unseen", "", std::nullopt) : std::nullopt;
  if (!any && !row.average && !row.unseen) {
    fail("the row '" + row.title + "' must have a number");
  }
  table_.rows.push_back(std::move(row));
}

void TableReader::finish() const {
  if (table_.rows.empty()) {
    throw ConfigError(table_.file + ": a table of published results must have a row of the kind " +
                      join(kOfRows, ", ") + "; docs/published.md has the format");
  }
  if (table_.title.empty()) {
    throw ConfigError(table_.file +
                      ": the first line must be a comment that says what the table is, '# ...'");
  }
}

}  // namespace

PublishedUnit published_unit(const std::string& metric) {
  const Unit unit = metric_registry().contains(metric) ? metric_registry().at(metric).unit : Unit::kNone;
  constexpr double kMostCentimetres = 1e5;
  return unit == Unit::kDegrees  ? PublishedUnit{"degrees", 1, 180}
         : unit == Unit::kMetres ? PublishedUnit{"metres", 100, kMostCentimetres}
                                 : PublishedUnit{"share", 100, 100};
}

PublishedTable parse_published_table(const std::string& text, const std::string& file) {
  return TableReader(file).read(text);
}

}  // namespace fusegrid
