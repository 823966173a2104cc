// The sections [task:NAME] of a job, tasks that commands answer, from their text to what is recorded of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "coordinator/grid.h"
#include "coordinator/job_file.h"
#include "store/records.h"

namespace fusegrid {

// Reads "key = value" of such a section and returns the key. ConfigError, without a place, where it is none of the
// section's, or the value is none that it can have.
std::string read_task_key(const std::string& line, TaskSection& section);
// Once all keys are read: fills in what the metric says. ConfigError, without a place, where a key is missing or speaks
// against it.
void complete_task(TaskSection& section);

// The section of a task; nullptr where the job has none: it is one of a zoo.
const TaskSection* task_section(const JobSpec& job, const std::string& task);
// All tasks that these experts own, each with its expert: the zoo's, and those of the job's sections.
std::map<std::string, std::string> task_owners(const JobSpec& job, const Zoo& zoo,
                                               const std::vector<std::string>& experts);

// ConfigError with file and line where a section's name is that of a task of a zoo, or its expert is none of a zoo's.
void check_task_sections(const JobSpec& job, const JobZoos& zoos);
// What cells of such tasks must be, else ConfigError naming cell and section: of a method that makes models which a
// folder can hold; not shifted; and with validation where parameters are chosen by it.
void check_external_cells(const JobSpec& job, const JobZoos& zoos, const std::vector<Cell>& cells);

// Finds the programs and digests the files that the commands name: in the sections, for executors, and as bindings of
// their cells. ConfigError with file and line where something is missing.
void bind_external_tasks(JobSpec& job, std::vector<Cell>& cells);

TaskRecord external_task_record(const std::string& zoo, const TaskSection& section);

}  // namespace fusegrid
