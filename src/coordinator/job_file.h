// A job file is what a user writes: which methods, with which parameters, on which zoos, tasks and shifts.
//
//   # The question that this job answers.
//   zoo = embedded-small
//   experts = 2..8            # every prefix of the zoo's experts; also "all", "3" or "mnist+fashion"
//   seed = 0..2
//
//   [simple_average]          # a method with its defaults
//   [ties]
//   density = 0.2
//   scale = 0.2 0.3 0.4       # several values on one line, or the key repeated: a Cartesian product
//   [ties:mean]               # a second grid of the same method; the word behind ':' is free
//   merge = mean
//   [external:mine]           # a row that a command makes, and [folder:theirs] one that is there (external_rows.h)
//   command = python3 my_merge.py {request}
//   [task:gsm8k]              # a task that a command answers (external_tasks.h)
//   command = python3 my_evaluator.py {request}
//   metric = accuracy
//
// Syntax: Boost.Program_options' configuration files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/params.h"
#include "fusion/external_row.h"
#include "tasks/external_task.h"

namespace fusegrid {

constexpr int64_t kHighestAttempts = 100;  // of a cell
constexpr int64_t kHighestThreads = 1024;  // of an executor

// One value as written, with where it stands.
struct JobValue {
  std::string text;
  int line = 0;
};

// One section of a job file: a method and the grid of its parameters.
struct MethodGrid {
  std::string section;                                  // "ties" or "ties:mean", whose label is "mean"
  std::string method;                                   // name in the method registry
  std::map<std::string, std::vector<JobValue>> values;  // by parameter; those not named keep their defaults
  int line = 0;                                         // of the section's header
  std::optional<ExternalRow> external = {};  // of [external:NAME] and [folder:NAME], which have no grid
  // The Cartesian product; one empty ParamText where no parameter is given.
  std::vector<ParamText> combinations() const;
  double num_combinations() const;  // exact up to 2^53: says how many there would be, without making them
};

// One section [task:NAME].
struct TaskSection {
  std::string name;
  int line = 0;  // of the section's header
  ExternalTask task = {};
  std::set<std::string> given = {};  // keys
};

// A job file, read and checked as far as that is possible without opening a zoo.
struct JobSpec {
  std::filesystem::path file;
  std::string text;               // of the whole file
  std::vector<JobValue> zoos;     // names or folders
  std::vector<JobValue> experts;  // "all", "3", "mnist+fashion", "2..8"
  std::vector<int64_t> seeds;
  std::vector<JobValue>
      tasks;  // empty: the tasks of the merged experts; a single "all": every task of the zoo
  std::vector<JobValue> shifts;
  std::vector<MethodGrid> methods;
  std::vector<TaskSection> external_tasks;
  int64_t batch = 256;                // examples per forward pass of an evaluation
  bool tests_chosen_only = false;     // only the settings that validation chose are tested
  std::optional<int64_t> validation;  // validation examples of a task at most: the first of the split
  std::string precision = "fp32";     // of forward and backward passes
  std::optional<JobValue> published;  // file with published results that the job's are compared with
  std::optional<int64_t> max_attempts;
  std::optional<int64_t> stall_timeout_s;
  std::optional<double> memory_limit_gb;  // of an executor's address space, 2^30 bytes
  std::optional<int64_t> threads;         // of an executor
  std::optional<std::string> device;      // auto | cpu | cuda
  int64_t shards = 1;                     // executors that make a merge together
  int shards_line = 0;

  int64_t memory_limit_bytes() const;  // 0: none
  // "jobs/quickstart.cfg:12: "
  std::string where(int line) const;
};

// The name of the task of a section's header "task:NAME"; nullopt where it is a method's. ConfigError where it is none.
std::optional<std::string> task_of_section(const std::string& header);
// The method of a section's header, "ties" or "ties:label"; all of "external:NAME" and "folder:NAME". ConfigError where
// there is no such method (which says what another tool's method of that name is called here), or where the label or
// the name is none.
std::string method_of_section(const std::string& header);

// Reads and checks a job file: unknown keys, methods, parameters and shifts, values out of range, keys,
// values or sections given twice are ConfigErrors that begin with file and line and list what is known.
JobSpec read_job_file(const std::filesystem::path& file);
// The same from text; `file` is only named in messages.
JobSpec parse_job(const std::string& text, const std::filesystem::path& file);

// One top-level key, for the documents and for messages.
struct JobKey {
  std::string name;
  std::string accepts;
  std::string fallback;  // what holds where it is not given
  std::string doc;
};
const std::vector<JobKey>& job_keys();

}  // namespace fusegrid
