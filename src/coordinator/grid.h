// From a job to its cells, and every check of them that needs no data.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/job_file.h"
#include "core/cell.h"
#include "fusion/method.h"
#include "zoo/zoo.h"

namespace fusegrid {

// The zoos of a job, by their text in the job file (a name or a folder).
using JobZoos = std::map<std::string, Zoo>;

// Finds the zoos of a job. ConfigError (with file and line) where one is missing, or where two have one name,
// since the name is part of a cell's identity.
JobZoos load_zoos(const JobSpec& job);

// The cells of a job, at most a million, sorted by name, each once; their parameters are those that differ from the
// defaults, so that a new option of a method renames no cell. Each is checked against its method's card: number of
// experts, a multi-task model where the card needs one, parameters that constrain each other, tasks that a method with
// task identity can answer. ConfigErrors name file and line.
std::vector<Cell> expand(const JobSpec& job, const JobZoos& zoos);

// Canonical text of the parameters that differ from their defaults, as it stands in the names of cells.
std::string named_parameters(const Method& method, const ParamText& given);

// The sets of experts that the job merges, and where they come from: drawn (coordinator/expert_sets.h), or named.
//   {"<zoo name>": {"<experts>": ["random 7", "named", ...]}}
nlohmann::json merged_sets(const JobSpec& job, const JobZoos& zoos);

// What the settings of a method share that validation chooses among: the cell without its parameters and task.
std::string sweep_name(const Cell& cell);
// Names of the cells whose method has several settings in the job, so that there is something to choose.
std::set<std::string> swept_cells(const std::vector<Cell>& cells);

// What the result of a cell rests on besides its name: "parameters", all of its method's, defaults included, as
// canonical text; of an external row its command or path, and the digests of what that names; of a task that a command
// answers likewise.
std::map<std::string, std::string> cell_bindings(const Cell& cell);

// Those whose name the ECMAScript regular expression finds; UsageError, which names the option, where it is not one.
std::vector<Cell> only_matching(const std::vector<Cell>& cells, const std::string& regex,
                                const std::string& option = "--only");

// ConfigError where the job wants teams of more workers than there are.
void check_workers(const JobSpec& job, int workers);

// Where executors save what merges share.
struct SavedStatistics {
  std::filesystem::path folder;  // "": nowhere
  int64_t disk_bytes = 0;        // at most
};

// Settings of the executor kind "grid":
//   {"zoos": {"<zoo name>": "<folder>"}, "packs": {"<zoo name>": {"size": n, ..., "sha256": "<digest>"}}, "batch": n,
//    "splits": ["val", "test"], "validation": n, "precision": "fp32", "statistics": "<folder>",
//    "statistics_disk_bytes": n, "memory_limit_bytes": n, "shards": n, "bindings": {"<input>": "<digest>"}}
// but for "external", see external_settings.h.
// packs: as pack_digest() saw them here, so that executors need not read them again; splits: what is evaluated;
// validation: examples at most, -1: all.
// Executors compare what they load with the bindings of the launch.
nlohmann::json grid_settings(const JobSpec& job, const JobZoos& zoos, const SavedStatistics& statistics,
                             int64_t memory_limit_bytes, const std::map<std::string, std::string>& bindings);

}  // namespace fusegrid
