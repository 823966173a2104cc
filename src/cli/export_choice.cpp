#include "cli/export_choice.h"

#include <algorithm>
#include <set>

#include "cli/plan.h"
#include "cli/print.h"
#include "core/alternatives.h"
#include "core/errors.h"
#include "core/text.h"
#include "fusion/cell_merge.h"
#include "fusion/method.h"
#include "zoo/checkpoint_folder.h"

namespace fusegrid {

namespace fs = std::filesystem;

namespace {

bool is_named(const Cell& cell, const std::string& name) {
  return cell.name() == name || (name.starts_with(cell.without_task()) && merge_name(cell) == name);
}

[[noreturn]] void fail_without_result(const Records& records, const fs::path& results,
                                      const std::string& name) {
  const std::string job = records.runs.back().provenance.value("job", std::string("JOB"));
  if (records.planned().contains(name)) {
    throw ConfigError("cell '" + name +
                      "' has no result yet; run it first: " + rerun_line(job, results, name));
  }
  std::set<std::string> known;
  for (const auto& [recorded, result] : records.results) {
    known.insert(recorded);
    const Cell cell = Cell::parse(recorded);
    known.insert(method_registry().contains(cell.method) ? merge_name(cell) : cell.without_task());
  }
  const std::string near = nearest(name, {known.begin(), known.end()});
  throw ConfigError("'" + results.string() + "' has no result of a cell or merge '" + name + "'" +
                    (near.empty() ? "; 'fusegrid cells " + shell_quoted(job) + "' prints the names of cells"
                                  : "; did you mean '" + near + "'?"));
}

std::vector<TaskSection> external_among(const Records& records, const Cell& cell,
                                        const std::vector<std::string>& tasks) {
  std::vector<TaskSection> sections;
  for (const std::string& task : tasks) {
    const auto described = records.tasks.find({cell.zoo, task});
    if (described != records.tasks.end() && described->second.kind == kExternalKind) {
      const std::string owner = records.bindings.at(owner_binding(cell.zoo, cell.experts, task)).value;
      sections.push_back({.name = task, .task = {.expert = owner == kNoOwner ? "" : owner}});
    }
  }
  return sections;
}

}  // namespace

ChosenCells chosen_cells(const Records& records, const fs::path& results, const std::string& name) {
  if (records.kind() != "grid") {
    throw ConfigError("only a run of a job has cells to export, but '" + results.string() + "' holds " +
                      (records.runs.empty() ? "no run" : "models of a zoo, which are folders already"));
  }
  ChosenCells chosen;
  chosen.name = name;
  chosen.whole_merge = !records.results.contains(name);
  std::string failures;
  std::set<std::string> tasks;
  for (const auto& [recorded, result] : records.results) {
    const Cell cell = Cell::parse(recorded);
    if (!is_named(cell, name)) {
      continue;
    }
    if (result.status == Status::kFailed) {
      failures += "\n  " + recorded + ": " + result.reason;
      continue;
    }
    chosen.cells.push_back(cell);
    chosen.results.push_back(&result);
    tasks.insert(cell.task);
  }
  if (!failures.empty() && chosen.cells.empty()) {
    throw ConfigError("a cell must have a result to be exported, but it failed:" + failures +
                      "\nRun it again with --retry-failed.");
  }
  if (chosen.cells.empty()) {
    fail_without_result(records, results, name);
  }
  chosen.tasks.assign(tasks.begin(), tasks.end());
  chosen.cell = chosen.cells.front();
  chosen.external_tasks = external_among(records, chosen.cell, chosen.tasks);
  chosen.cell.parameters = chosen.results.front()->bindings.at("parameters");
  return chosen;
}

fs::path own_adapter(const ChosenCells& chosen, const Zoo& zoo, const std::string& task) {
  if (chosen.cell.method != "individual") {
    throw ConfigError("only an individual expert has an adapter of its own, but the cell is of the method '" +
                      chosen.cell.method + "'; give the rank of the adapter to be made of its merge");
  }
  const std::string expert = zoo.owners(zoo.experts_called(chosen.cell.experts)).at(task);
  const fs::path folder = model_folder(zoo, zoo.replicate(chosen.cell.seed), "expert/" + expert);
  if (!is_adapter(folder)) {
    throw ConfigError("an expert's own adapter can be written where the expert is one, but '" +
                      folder.string() + "' is a whole model; give the rank of the adapter to be made of it");
  }
  return folder;
}

}  // namespace fusegrid
