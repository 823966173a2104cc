// Which cells `fusegrid export` is asked for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/job_file.h"
#include "core/cell.h"
#include "core/result.h"
#include "store/records.h"
#include "zoo/zoo.h"

namespace fusegrid {

// What is to be exported: a cell, or all cells of a merge.
struct ChosenCells {
  std::string name;          // as the user gave it
  bool whole_merge = false;  // it is none of a cell
  Cell cell;                 // the first one, with all parameters as they were recorded
  std::vector<Cell> cells;
  std::vector<const Result*> results;  // of the cells
  std::vector<std::string> tasks;      // of the cells, sorted
  // Those of them that a command answered: whose they are, and nothing else.
  std::vector<TaskSection> external_tasks;
};

// The cells that `name` means in a results folder. ConfigError where it means none with a result.
ChosenCells chosen_cells(const Records& records, const std::filesystem::path& results,
                         const std::string& name);

// The folder of the adapter that is the expert of a task. ConfigError where the cell's method is not that of experts
// alone, or the expert is a whole model.
std::filesystem::path own_adapter(const ChosenCells& chosen, const Zoo& zoo, const std::string& task);

}  // namespace fusegrid
