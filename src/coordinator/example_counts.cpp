#include "coordinator/example_counts.h"

#include "coordinator/external_tasks.h"
#include "core/cell.h"
#include "core/text.h"

namespace fusegrid {

ExampleCounts::ExampleCounts(const JobSpec& job, const std::map<std::string, Result>& recorded) : job_(job) {
  for (const auto& [name, result] : recorded) {
    doubt(result);
  }
}

void ExampleCounts::judge(Result& result) {
  if (const auto reason = doubt(result)) {
    result.status = Status::kInvalid;
    result.reason = *reason;
  }
}

std::optional<std::string> ExampleCounts::doubt(const Result& result) {
  if (result.status != Status::kValid || job_.external_tasks.empty()) {
    return std::nullopt;
  }
  const Cell cell = Cell::parse(result.name);
  if (task_section(job_, cell.task) == nullptr) {
    return std::nullopt;
  }
  for (const Metric& metric : result.metrics) {
    const First now{metric.count, result.name};
    const First& first = first_.try_emplace({cell.zoo, cell.task, metric.split}, now).first->second;
    if (first.count != metric.count) {
      return "the command of [task:" + cell.task + "] answered about " + number_text(metric.count) +
             " examples of " + metric.split + ", but about " + number_text(first.count) + " for cell '" +
             first.cell +
             "'; scores can be compared on the same examples alone: make it answer about all of them, and "
             "run "
             "whichever is wrong again with --forget";
    }
  }
  return std::nullopt;
}

}  // namespace fusegrid
