// Job files of `fusegrid merge`.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "merge/spec.h"

namespace fusegrid {

struct MergeSetting {
  std::string text;
  std::string origin;  // "file:line" of a job file, empty on the command line
};

struct MergeJob {
  std::map<std::string, std::vector<MergeSetting>> settings;  // by the name of the command line's option
  std::vector<MergeMethod> methods;
};

// Reads a job file: above the first section the options of the command line as `key = value` (expert repeated), then
// one section per method with values to combine, as in job files of `fusegrid run`:
//   base = llama
//   expert = math=ft/math
//   expert = code=ft/code
//   out = sweep
//   [task_arithmetic]
//   scale = 0.1 0.2 0.3
// Throws ConfigError with file and line; methods and their parameters are checked as they are read.
MergeJob read_merge_job(const std::filesystem::path& file);

// A merge as such a file; without a text where it cannot be one, and then why not.
struct NativeJob {
  std::string text;
  std::string why_not;
};
NativeJob native_job(const MergeSpec& spec);

}  // namespace fusegrid
