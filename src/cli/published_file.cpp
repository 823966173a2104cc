#include "cli/published_file.h"

#include <algorithm>

#include "coordinator/grid.h"
#include "core/errors.h"
#include "core/text.h"
#include "core/text_file.h"
#include "fusion/called_elsewhere.h"
#include "fusion/external_row.h"
#include "fusion/method.h"

namespace fusegrid {
namespace {

// How the cells of a row are named: "ties{scale=0.60}" -> "ties{scale=0.6}".
std::string as_cells_are_named(const std::string& text) {
  const auto [name, given] = parse_call(text);
  if (is_external(name)) {
    return text;
  }
  const std::string method = method_of_section(name);
  const Method& known = method_registry().at(method);
  check_parameter_names(known, given);
  Cell cell;
  cell.method = method;
  cell.parameters = named_parameters(known, given);
  return cell.method_text();
}

void check_cells(const PublishedTable& table) {
  for (const PublishedRow& row : table.rows) {
    if (row.cells.empty()) {
      continue;
    }
    const std::string where = table.file + ":" + std::to_string(row.line) + ": ";
    std::string named;
    try {
      named = as_cells_are_named(row.cells);
    } catch (const ConfigError& error) {
      throw ConfigError(where + error.what());
    }
    if (named != row.cells) {
      throw ConfigError(where + "'cells' must be as cells are named, '" + named + "', but it is '" +
                        row.cells + "'");
    }
  }
}

bool is_of_zoo(const PublishedTable& table, const std::string& zoo) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const PublishedRow& row) { return row.zoo.empty() || row.zoo == zoo; });
}

void check_zoo(const std::string& where, const PublishedTable& table, const std::string& zoo,
               const PackContents& contents) {
  for (size_t i = 0; i < table.tasks.size(); ++i) {
    const auto task = contents.find(table.tasks[i]);
    if (task == contents.end()) {
      throw ConfigError(where + "the published numbers are of the task '" + table.tasks[i] +
                        "', which the zoo '" + zoo +
                        "' has not; import it, or name the table of another job");
    }
    const int64_t count = task->second.examples.at("test");
    if (table.examples[i] && *table.examples[i] != count) {
      throw ConfigError(where + "the published numbers are of " + number_text(*table.examples[i]) +
                        " test examples of '" + table.tasks[i] + "', but the zoo '" + zoo + "' has " +
                        number_text(count) +
                        ", so that they would not compare; import the whole split, or remove the line");
    }
  }
}

}  // namespace

std::optional<PublishedFile> read_published_file(const JobSpec& job,
                                                 const std::map<std::string, PackContents>& contents) {
  if (!job.published) {
    return std::nullopt;
  }
  const std::string& name = job.published->text;
  const std::string where = job.where(job.published->line);
  std::string text;
  try {
    text = read_text_file(job.file.parent_path() / name, "table of published results");
  } catch (const ConfigError& error) {
    throw ConfigError(where + error.what());
  }
  PublishedFile file{.name = name, .text = text, .table = parse_published_table(text, name)};
  check_cells(file.table);
  for (const auto& [zoo, tasks] : contents) {
    if (is_of_zoo(file.table, zoo)) {
      check_zoo(where, file.table, zoo, tasks);
    }
  }
  return file;
}

}  // namespace fusegrid
