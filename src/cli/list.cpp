// fusegrid list: what there is to name in a job file.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "cli/as_called.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/print.h"
#include "cli/reference.h"
#include "core/text.h"
#include "fusion/method.h"
#include "tasks/label_scope.h"
#include "tasks/shift.h"
#include "tasks/suite.h"
#include "zoo/recipe.h"
#include "zoo/zoo.h"

namespace fusegrid {
namespace {

std::string first_sentence(const std::string& doc) {
  return doc.substr(0, doc.find(". "));
}

TextTable methods() {
  TextTable table({"method", "name", "family", "yields"});
  for (const auto& name : method_registry().names()) {
    const auto& card = method_registry().at(name).card;
    table.add({name, card.title, to_string(card.family), to_string(card.yields)});
  }
  return table;
}

TextTable tasks() {
  TextTable table({"task", "suite", "title", "classes"});
  for (const auto& name : suite_registry().names()) {
    for (const auto& task : suite_registry().at(name).tasks) {
      table.add({task.name, name, task.title, classes_text(task)});
    }
  }
  return table;
}

// A zoo that cannot be read hides none of the others: it is told on `err`, and decides `code`.
TextTable zoos(std::ostream& err, ExitCode& code) {
  TextTable table({"zoo", "scale", "seeds", "tasks"});
  for (const auto& name : list_zoos()) {
    try {
      const Zoo zoo = find_zoo(name);
      std::vector<std::string> seeds;
      for (const auto& replicate : zoo.replicates) {
        seeds.push_back(number_text(replicate.seed));
      }
      table.add({name, zoo.scale, zoo.imported ? "any" : join(seeds, " "), join(zoo.tasks, " ")});
    } catch (const Error& error) {
      err << "fusegrid: error: zoo '" << name << "' cannot be read: " << as_called(error.what()) << "\n";
      code = error.code();
    }
  }
  return table;
}

TextTable shifts() {
  TextTable table({"shift", "what it does"});
  table.add({"clean", "nothing"});
  table.add({kAllLabels, "no input changes; classes are looked for among those of all merged tasks"});
  for (const auto& name : shift_registry().names()) {
    table.add({name + "-1..5", first_sentence(shift_registry().at(name).doc)});
  }
  return table;
}

TextTable recipes() {
  TextTable table({"recipe", "scale", "suite", "models"});
  for (const auto& name : recipe_registry().names()) {
    for (const auto& scale : recipe_registry().at(name).card.scales) {
      table.add({name, scale.name, scale.suite, scale.doc});
    }
  }
  return table;
}

// The question that a job answers: its first comment.
std::string question(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line.rfind('#', 0) == 0 ? trim(line.substr(1)) : "";
}

std::vector<std::filesystem::path> job_folders() {
  return {"jobs", "jobs/published", data_folder() / "jobs", data_folder() / "jobs/published"};
}

TextTable jobs() {
  TextTable table({"job file", "question"});
  std::vector<std::filesystem::path> files;
  for (const auto& folder : job_folders()) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
      if (entry.path().extension() == ".cfg") {
        files.push_back(entry.path());
      }
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    table.add({file.string(), question(file)});
  }
  return table;
}

// Why a list is empty, and what to type.
std::string where_looked(const std::string& what) {
  const auto quoted = [](const std::filesystem::path& folder) {
    return "'" + std::filesystem::absolute(folder).lexically_normal().string() + "'";
  };
  if (what == "zoos") {
    return "there are no zoos in " + quoted(zoos_folder()) +
           "; make one with 'fusegrid zoo build embedded --scale small', or name another folder of zoos with "
           "FUSEGRID_ZOOS";
  }
  return "there are no job files (*.cfg) in " + quoted("jobs") + " or " + quoted(data_folder() / "jobs") +
         "; 'fusegrid run' takes the path of any";
}

}  // namespace

ExitCode print_list(Invocation& in) {
  Options options("list", "Lists what there is to name in a job file or to build a zoo by.",
                  {"fusegrid list methods", "fusegrid list zoos"});
  options.argument("WHAT", "methods, tasks, zoos, shifts, recipes or jobs",
                   {"methods", "tasks", "zoos", "shifts", "recipes", "jobs"});
  if (!options.parse(in)) {
    return ExitCode::kOk;
  }
  const auto what = options.argument("WHAT");
  ExitCode code = ExitCode::kOk;
  const TextTable table = what == "methods"   ? methods()
                          : what == "tasks"   ? tasks()
                          : what == "zoos"    ? zoos(in.err, code)
                          : what == "shifts"  ? shifts()
                          : what == "recipes" ? recipes()
                                              : jobs();
  in.out << table.text();
  if (table.empty() && code == ExitCode::kOk) {
    in.err << as_called("fusegrid: " + where_looked(what)) << "\n";
  }
  return code;
}

}  // namespace fusegrid
