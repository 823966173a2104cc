#include "coordinator/external_settings.h"

namespace fusegrid {

nlohmann::json external_settings(const JobSpec& job, const std::filesystem::path& folder) {
  auto rows = nlohmann::json::object();
  for (const MethodGrid& grid : job.methods) {
    if (grid.external) {
      rows[grid.method] = *grid.external;
    }
  }
  auto tasks = nlohmann::json::object();
  for (const TaskSection& section : job.external_tasks) {
    tasks[section.name] = section.task;
  }
  return {{"rows", rows}, {"tasks", tasks}, {"folder", std::filesystem::absolute(folder).string()}};
}

}  // namespace fusegrid
