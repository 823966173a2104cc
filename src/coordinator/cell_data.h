// What the cells of a job read: whether a zoo's task pack has it, and its models understand it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/cell.h"
#include "store/task_pack.h"
#include "zoo/zoo.h"

namespace fusegrid {

// What a zoo's task pack holds, by task.
using PackContents = std::map<std::string, TaskInfo>;

// What the zoo's pack holds; nothing where it has none. IoError or DataError as TaskPack and pack_digest(); ConfigError
// where the pack is another one than the zoo was made with.
PackContents pack_contents(const Zoo& zoo);

// Checks that the pack holds what the cells read: "val" and "test" of every evaluated task of the zoo, and "train" of
// the experts' tasks where the method needs it; that the zoo's models can read the tasks; that the methods' demands are
// met; and that a shift changes what the task's inputs are. ConfigError naming cell, task and split.
void check_data(const std::vector<Cell>& cells, const Zoo& zoo, const PackContents& contents);

}  // namespace fusegrid
