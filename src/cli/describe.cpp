// fusegrid describe: all that the registries know of one method, task, shift, recipe or zoo.

#include <algorithm>
#include <vector>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/reference.h"
#include "core/text.h"
#include "fusion/called_elsewhere.h"
#include "tasks/shift.h"

namespace fusegrid {

ExitCode print_description(Invocation& in) {
  Options options(
      "describe",
      "Describes a method (card, parameters with defaults and ranges), a task, a shift, a zoo or a recipe "
      "of zoos (scales and options).",
      {"fusegrid describe ties", "fusegrid describe mnist", "fusegrid describe text",
       "fusegrid describe embedded-small"});
  options.argument("NAME", "a method, task, shift, recipe or zoo");
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const auto name = options.argument("NAME");
  if (method_registry().contains(name)) {
    in.out << method_text(method_registry().at(name));
    return ExitCode::kOk;
  }
  if (recipe_registry().contains(name)) {
    in.out << recipe_text(recipe_registry().at(name));
    return ExitCode::kOk;
  }
  std::vector<std::string> known = method_registry().names();
  const auto recipes = recipe_registry().names();
  known.insert(known.end(), recipes.begin(), recipes.end());
  bool is_task = false;  // of several suites, it may be
  for (const auto& suite_name : suite_registry().names()) {
    const Suite& suite = suite_registry().at(suite_name);
    for (const auto& task : suite.tasks) {
      if (task.name == name) {
        in.out << (is_task ? "\n" : "") << task_text(suite, task);
        is_task = true;
      }
      known.push_back(task.name);
    }
  }
  if (is_task) {
    return ExitCode::kOk;
  }
  if (shift_registry().contains(name)) {
    const Shift& shift = shift_registry().at(name);
    in.out << shift.name << "-1 .. " << shift.name << "-5\n\n  " << shift.doc << "\n  " << shift.paper
           << "\n";
    return ExitCode::kOk;
  }
  const auto zoos = list_zoos();
  if (std::find(zoos.begin(), zoos.end(), name) != zoos.end() || std::filesystem::exists(name)) {
    in.out << zoo_text(find_zoo(name));
    return ExitCode::kOk;
  }
  const auto shifts = shift_registry().names();
  known.insert(known.end(), shifts.begin(), shifts.end());
  known.insert(known.end(), zoos.begin(), zoos.end());
  const std::string near = nearest(name, known);
  const std::string elsewhere = advice_on_method(name);
  throw ConfigError("there is no method, task, shift, recipe or zoo '" + name + "'" +
                    (!elsewhere.empty() ? elsewhere + "."
                     : near.empty()     ? "."
                                        : "; did you mean '" + near + "'?") +
                    " 'fusegrid list methods|tasks|shifts|recipes|zoos' shows what there is");
}

}  // namespace fusegrid
