#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace fusegrid {

// One cell of the grid. Its canonical text is its identity everywhere (queue, journal, HDF5, --only, rerun
// line):
//
//   vision8-small/experts=8/ties{scale=0.5}/seed=0/mnist@clean
//
// Cells that are equal up to the task share one merge, but for what merge_name() (fusion/cell_merge.h) sets apart.
struct Cell {
  std::string zoo;
  std::string experts;     // "8": the first 8 of the zoo's order; or task names joined by '+'
  std::string method;      // key of the method registry
  std::string parameters;  // canonical text of those that differ from their defaults
  int64_t seed = 0;        // replicate of the zoo and key of the method's random numbers
  std::string task;
  std::string shift = "clean";  // evaluation condition: "clean", "all_labels" or "<corruption>-<severity>"
  // No part of the name: what the method of a planned cell is, where the program does not know it by its name alone.
  std::map<std::string, std::string> method_bindings = {};
  std::map<std::string, std::string> task_bindings = {};  // and what its task is, likewise

  std::string method_text() const;   // ties{density=0.2,scale=0.3}
  std::string without_task() const;  // all up to the task
  std::string name() const;

  // Throws ConfigError where `name` is not the canonical text of a cell.
  static Cell parse(const std::string& name);
};

}  // namespace fusegrid
