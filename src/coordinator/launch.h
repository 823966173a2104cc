// What a launch records besides results: what its numbers rest on, and what a reader of them must know.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/grid.h"
#include "core/cell.h"
#include "store/records.h"

namespace fusegrid {

// What the numbers of the cells rest on and their names do not say: the models, heads and configurations that they use
// (zoo/bindings.h), which merged expert owns their tasks (owner_binding()), their zoos' task packs, "precision".
std::map<std::string, std::string> launch_bindings(const JobSpec& job, const std::vector<Cell>& cells,
                                                   const JobZoos& zoos);

// The methods of the cells, from their cards.
std::vector<MethodRecord> method_records(const std::vector<Cell>& cells);

// The tasks that the cells are evaluated on.
std::vector<TaskRecord> task_records(const JobSpec& job, const std::vector<Cell>& cells, const JobZoos& zoos);

// Labels and groups of what the cells are evaluated on, but for those that `known` has, and for tasks that commands
// answer, whose examples nobody here sees.
std::vector<ExamplesRecord> examples_records(const std::vector<Cell>& cells, const JobZoos& zoos,
                                             const Records& known);

// The cells with a result worth keeping whose bindings are not those that a run would record now: "its name: what
// differs", in their order. (A failed one runs again anyway.)
struct StaleCell {
  std::string name;
  std::string difference;
};
std::vector<StaleCell> stale_cells(const std::vector<Cell>& cells,
                                   const std::map<std::string, Result>& recorded);

// ConfigError naming stale cells and what differs, with the remedy; returns where there are none.
void check_fresh(const std::vector<Cell>& cells, const std::map<std::string, Result>& recorded);

}  // namespace fusegrid
