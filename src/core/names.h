// Names that a user gives to zoos, tasks, experts and sections of a job. They become parts of paths, of cells' names
// and of words in a job file, so that each passes through here where it enters.
#pragma once

#include <string>

namespace fusegrid {

// ConfigError unless `text` has 1 to 100 letters, digits, '.', '_' and '-' of ASCII and begins with a letter or digit.
//   what   whose name it is, for the message: "the name of a zoo"
void check_name(const std::string& text, const std::string& what);

// As check_name; and `text` is neither "all" nor a number, nor has it "..": where experts are chosen, these mean
// others.
void check_task_name(const std::string& text, const std::string& what);

}  // namespace fusegrid
