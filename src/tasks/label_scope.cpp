#include "tasks/label_scope.h"

#include <algorithm>

#include "core/errors.h"
#include "tasks/kind.h"

namespace fusegrid {
namespace {

[[noreturn]] void refuse(const std::string& task, const std::string& why) {
  throw ConfigError("under the shift " + std::string(kAllLabels) + " the class of an example of task '" +
                    task + "' is looked for among the classes of all merged tasks, but " + why);
}

bool has_labels(const TaskInfo& info) {
  return task_kind(info.kind).has_classes() && !info.class_names.empty();
}

}  // namespace

std::vector<std::string> tasks_of_all_labels(const std::string& task, const std::vector<std::string>& merged,
                                             const std::function<const TaskInfo&(const std::string&)>& info) {
  const TaskInfo& own = info(task);
  if (!has_labels(own)) {
    refuse(task, "its kind is " + own.kind + "; take the shift or the task out of the job");
  }
  std::vector<std::string> scope{task};
  std::vector<std::vector<std::string>> classes{own.class_names};
  bool is_among_them = false;
  for (const std::string& other : merged) {
    const TaskInfo& of_other = info(other);
    is_among_them = is_among_them || of_other.class_names == own.class_names;
    if (has_labels(of_other) && std::ranges::count(classes, of_other.class_names) == 0) {
      scope.push_back(other);
      classes.push_back(of_other.class_names);
    }
  }
  if (!is_among_them) {
    refuse(task, "none of them has its classes; merge an expert of a task with these, or leave the task out");
  }
  if (scope.size() == 1) {
    refuse(task, "all of them have the same; take the shift out of the job");
  }
  return scope;
}

}  // namespace fusegrid
