#pragma once

#include <string>
#include <vector>

#include "core/registry.h"

namespace fusegrid {

// One task of a suite, as the documents and reports show it. What the examples are is in the task pack.
struct TaskCard {
  std::string name;
  std::string title;
  std::string modality;  // "image classification"
  int64_t classes = 0;   // or different answers; 0 where answers are open
  std::string content;   // what an example shows
  std::string split;     // how train, val and test are kept apart
  // The task whose expert owns it, where none is made for it: its models are evaluated on both. "": it has its own.
  std::string owner = "";
};

// A suite: the tasks that the experts of a zoo were made for. One .cpp of src/tasks each, registering itself.
struct Suite {
  std::string name;  // "embedded8"
  std::string pack;  // file name of its task pack in data_folder()
  std::string source;
  std::vector<TaskCard> tasks;  // in the canonical order of experts
};

Registry<Suite>& suite_registry();

}  // namespace fusegrid
