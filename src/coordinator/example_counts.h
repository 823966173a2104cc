#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "coordinator/job_file.h"
#include "core/result.h"

namespace fusegrid {

// How many examples the commands of a job's external tasks answer about. Scores of one task can be compared on the same
// examples alone, and nobody here sees which they are: that there are as many of them is the least.
class ExampleCounts {
 public:
  // recorded: the results that are there; those of them that are valid say what the others must have.
  ExampleCounts(const JobSpec& job, const std::map<std::string, Result>& recorded);

  // Makes a valid result of such a task invalid where its examples are not as many as those of the task's first one.
  void judge(Result& result);

 private:
  // Remembers its counts, or says how one of them differs from those that are remembered.
  std::optional<std::string> doubt(const Result& result);

  struct First {
    int64_t count = 0;
    std::string cell;
  };
  const JobSpec& job_;
  std::map<std::tuple<std::string, std::string, std::string>, First> first_;  // by zoo, task and split
};

}  // namespace fusegrid
