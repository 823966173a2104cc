#include "tasks/label_scope.h"

#include <map>

#include <gmock/gmock.h>

#include "core/errors.h"

namespace fusegrid::label_scope_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TaskInfo info_of(const std::string& kind, const std::vector<std::string>& classes) {
  TaskInfo info;
  info.kind = kind;
  info.class_names = classes;
  return info;
}

// Two alphabets in two looks, numbers and something without classes.
const std::map<std::string, TaskInfo> kTasks{{"greek", info_of("classify", {"alpha", "beta"})},
                                             {"greek_turned", info_of("classify", {"alpha", "beta"})},
                                             {"latin", info_of("classify", {"a", "b", "c"})},
                                             {"latin_turned", info_of("classify", {"a", "b", "c"})},
                                             {"digits", info_of("classify", {"0", "1"})},
                                             {"angle", info_of("regress", {})}};

std::vector<std::string> scope_of(const std::string& task, const std::vector<std::string>& merged) {
  return tasks_of_all_labels(task, merged,
                             [](const std::string& name) -> const TaskInfo& { return kTasks.at(name); });
}

std::string refusal_of(const std::string& task, const std::vector<std::string>& merged) {
  try {
    scope_of(task, merged);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(LabelScope, begins_with_the_task_and_has_each_label_space_once) {
  EXPECT_THAT(scope_of("latin", {"greek", "latin", "digits"}), ElementsAre("latin", "greek", "digits"));
  EXPECT_THAT(scope_of("latin_turned", {"greek", "latin", "angle"}), ElementsAre("latin_turned", "greek"));
  EXPECT_THAT(scope_of("digits", {"greek", "greek_turned", "digits"}), ElementsAre("digits", "greek"));
}

TEST(LabelScope, is_refused_where_it_says_nothing) {
  EXPECT_THAT(refusal_of("angle", {"greek", "angle"}), HasSubstr("its kind is regress"));
  EXPECT_THAT(refusal_of("latin", {"greek", "digits"}), HasSubstr("none of them has its classes"));
  EXPECT_THAT(refusal_of("greek", {"greek", "greek_turned"}), HasSubstr("all of them have the same"));
}

}  // namespace
}  // namespace fusegrid::label_scope_test
