#include "cli/reference.h"

#include <vector>

#include "cli/print.h"
#include "core/text.h"
#include "fusion/compat/compat.h"
#include "fusion/compat/porting.h"
#include "fusion/sharding.h"
#include "tasks/shift.h"

namespace fusegrid {
namespace {

std::string needs_text(const MethodCard& card) {
  std::vector<std::string> needs;
  for (const Need need : card.needs) {
    needs.push_back(to_string(need));
  }
  return needs.empty() ? "the experts alone" : join(needs, ", ");
}

std::string cost_text(Cost cost) {
  switch (cost) {
    case Cost::kElementwise:
      return "element-wise passes";
    case Cost::kMatrix:
      return "matrix decompositions or solves";
    case Cost::kForwardPasses:
      return "forward passes over data";
    case Cost::kTraining:
      return "training";
  }
  FUSEGRID_ASSERT(false, "unknown cost class");
}

std::string experts_text(const MethodCard& card) {
  const bool open = card.max_experts >= MethodCard{}.max_experts;
  if (card.min_experts == card.max_experts) {
    return "exactly " + number_text(card.min_experts);
  }
  return number_text(card.min_experts) + (open ? " or more" : " to " + number_text(card.max_experts));
}

// Name and text of each line of a card.
std::vector<std::pair<std::string, std::string>> card_lines(const MethodCard& card) {
  std::vector<std::pair<std::string, std::string>> lines{
      {"paper", card.paper},
      {"family", to_string(card.family)},
      {"grain", to_string(card.grain)},
      {"needs", needs_text(card)},
      {"yields", to_string(card.yields)},
      {"task identity at inference", card.needs_task_identity ? "needed" : "not needed"},
      {"seed", card.random ? "changes the result" : "does not change the result"},
      {"order of experts", card.order_invariant ? "does not matter (up to rounding)" : "changes the result"},
      {"experts", experts_text(card)},
      {"cost", cost_text(card.cost)}};
  if (compat_registry().contains(card.name)) {
    const CompatMethod& compat = compat_registry().at(card.name);
    lines.emplace_back("merge --precision compat", "mergekit's " + compat.original + ": " + compat.rounding);
  }
  return lines;
}

TextTable parameter_table(const Method& method, const std::string& default_header) {
  TextTable table({"parameter", default_header, "accepts", "meaning"});
  for (const auto& param : method.params()) {
    table.add({param.name, param.value.empty() ? "(empty)" : param.value, param.accepts, param.doc});
  }
  return table;
}

std::string indented(const std::string& lines) {
  std::string text;
  for (const std::string& line : split(lines, '\n')) {
    text += "  " + line + "\n";
  }
  return text;
}

}  // namespace

std::string method_text(const Method& method) {
  const auto& card = method.card;
  TextTable table({"", ""});
  for (const auto& [name, text] : card_lines(card)) {
    table.add({"  " + name, text});
  }
  std::string text =
      card.name + ": " + card.title + "\n\n" + indented(card.formula) + "\n" + table.text(false);
  text += method.params().empty() ? "\nIt has no parameters of its own.\n"
                                  : "\nParameters:\n" + parameter_table(method, "default").text();
  text += "\nEvery method takes three more, head, statistics and statistics_examples: docs/jobs.md.\n";
  return text;
}

std::string classes_text(const TaskCard& task) {
  return task.classes == 0 ? "-" : number_text(task.classes);
}

std::string task_text(const Suite& suite, const TaskCard& task) {
  TextTable table({"", ""});
  table.add({"  suite", suite.name + " (" + suite.source + ")"});
  table.add({"  task pack", suite.pack});
  table.add({"  modality", task.modality});
  table.add({"  classes", classes_text(task)});
  table.add({"  content", task.content});
  table.add({"  split", task.split});
  return task.name + ": " + task.title + "\n\n" + table.text(false);
}

namespace {

// What zoo.json says of an expert: task and metric -> split -> score.
std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> scores_of(
    const Replicate& replicate, const std::string& expert) {
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::string>> scores;
  for (const auto& [name, score] : replicate.scores) {
    const auto parts = split(name, '/');  // expert, task, split, metric
    if (parts.size() == 4 && parts[0] == expert) {
      scores[{parts[1], parts[3]}][parts[2]] = number_text(score);
    }
  }
  return scores;
}

std::string replicate_text(const Zoo& zoo, const Replicate& replicate) {
  const auto found = [](const auto& values, const std::string& key) {
    const auto entry = values.find(key);
    return entry == values.end() ? std::string("-") : entry->second;
  };
  const auto digest = [&](const std::string& model) { return found(replicate.digests, model).substr(0, 16); };
  TextTable table({"model", "task", "metric", "val", "test", "weights SHA-256"});
  if (!replicate.base.empty()) {
    table.add({"base", "-", "-", "-", "-", digest("base")});
  }
  for (const ZooExpert& expert : zoo.experts) {
    const std::string of_expert = digest("expert/" + expert.name);
    const auto scores = scores_of(replicate, expert.name);
    if (scores.empty()) {
      const std::string tasks = expert.tasks.empty() ? "-" : join(expert.tasks, ", ");
      table.add({expert.name, tasks, "-", "-", "-", of_expert});
    }
    for (const auto& [measured, by_split] : scores) {
      table.add({expert.name, measured.first, measured.second, found(by_split, "val"),
                 found(by_split, "test"), of_expert});
    }
  }
  if (replicate.multitask) {
    table.add({"multitask", "-", "-", "-", "-", digest("multitask")});
  }
  return (zoo.imported ? "imported, for any seed" : "seed " + number_text(replicate.seed)) +
         " (scores of each expert when it was made)\n" + table.text();
}

}  // namespace

std::string zoo_text(const Zoo& zoo) {
  TextTable table({"", ""});
  table.add({"  folder", zoo.folder.string()});
  table.add({"  scale", zoo.scale});
  if (!zoo.pack.empty()) {
    table.add({"  suite", zoo.suite});
    table.add({"  task pack", zoo.pack.string()});
  }
  table.add({"  tasks", zoo.tasks.empty() ? "those of jobs" : join(zoo.tasks, ", ")});
  table.add({"  experts", join(zoo.expert_names(), ", ")});
  std::string text = "zoo " + zoo.name + "\n\n" + table.text(false);
  for (const auto& replicate : zoo.replicates) {
    text += "\n" + replicate_text(zoo, replicate);
  }
  return text;
}

std::string recipe_text(const Recipe& recipe) {
  const RecipeCard& card = recipe.card;
  TextTable scales({"scale", "suite", "models"});
  for (const auto& scale : card.scales) {
    scales.add({scale.name, scale.suite, scale.doc});
  }
  const std::string bases = !card.bases.empty() ? "Bases are those of the recipe " + card.bases + "."
                            : card.pool.empty()
                                ? "Bases are pretrained on the inputs of the task pack."
                                : "Bases are pretrained on " + card.pool + " (" + card.pool_maker + ").";
  std::string text = "recipe " + card.name + ": " + card.doc + "\n\n" + bases + "\n\n" + scales.text();
  for (const auto& scale : card.scales) {
    TextTable options({"option", "value", "accepts", "meaning"});
    for (const auto& [param, of_base] : recipe.options(scale, nlohmann::json::object())) {
      options.add({param.name, param.value, param.accepts, param.doc + (of_base ? " (of bases)" : "")});
    }
    text += "\nOptions at scale " + scale.name + ":\n" + options.text();
  }
  return text;
}

namespace {

constexpr size_t kPageWidth = 120;

// A question that somebody chooses a method by, and whether this one is an answer.
struct Question {
  const char* text;
  bool (*answers)(const MethodCard& card);
};

const std::vector<Question>& questions() {
  static const std::vector<Question> all_questions{
      {"Which need the base and the experts alone?",
       [](const MethodCard& card) { return card.family != Family::kReference && can_be_sharded(card); }},
      {"Which do not even need the base?",
       [](const MethodCard& card) {
         return card.family != Family::kReference && card.needs.empty() && card.max_experts > 1;
       }},
      {"Which can `fusegrid merge` run over files, and teams in a grid?",
       [](const MethodCard& card) { return can_be_sharded(card); }},
      {"Which need unlabelled training inputs?",
       [](const MethodCard& card) {
         return card.needs.contains(Need::kTrainInputs) && !card.needs.contains(Need::kTrainLabels);
       }},
      {"Which see unlabelled test inputs?",
       [](const MethodCard& card) { return card.needs.contains(Need::kTestInputs); }},
      {"Which see labels?",
       [](const MethodCard& card) {
         return card.needs.contains(Need::kTrainLabels) || card.needs.contains(Need::kValidationExamples);
       }},
      {"Which must be told the task of an input?",
       [](const MethodCard& card) { return card.needs_task_identity; }},
      {"Which give more than one model's weights, without being told the task?",
       [](const MethodCard& card) {
         return card.yields == Yields::kEnsemble || card.yields == Yields::kRoutedModel;
       }},
      {"Which merge exactly two experts, or one?",
       [](const MethodCard& card) { return card.max_experts <= 2; }},
      {"Which depend on the order of the experts?",
       [](const MethodCard& card) { return !card.order_invariant; }},
      {"Which draw random numbers?", [](const MethodCard& card) { return card.random; }},
      {"Which are references, not methods?",
       [](const MethodCard& card) { return card.family == Family::kReference; }}};
  return all_questions;
}

std::string question_index() {
  TextTable table({"question", "methods"});
  const auto& registry = method_registry();
  for (const Question& question : questions()) {
    std::vector<std::string> links;
    for (const auto& name : registry.names()) {
      if (question.answers(registry.at(name).card)) {
        links.push_back("[`" + name + "`](#" + name + ")");
      }
    }
    table.add({question.text, links.empty() ? "none" : join(links, ", ")});
  }
  return table.markdown();
}

}  // namespace

std::string methods_page() {
  std::string page =
      "# Methods\n\nGenerated by `fusegrid docs docs` from the methods' own declarations; do not edit.\n\n"
      "Every method takes `statistics` and `statistics_examples` besides the parameters listed here "
      "([jobs.md](jobs.md#sections)).\n\n";
  TextTable overview({"method", "name", "family", "needs", "yields"});
  const auto& registry = method_registry();
  for (const auto& name : registry.names()) {
    const auto& card = registry.at(name).card;
    overview.add({"[`" + name + "`](#" + name + ")", card.title, to_string(card.family), needs_text(card),
                  to_string(card.yields)});
  }
  page += overview.markdown() + "\n## By question\n\n" + question_index();
  for (const auto& name : registry.names()) {
    const Method& method = registry.at(name);
    page += "\n## " + name + "\n\n" + method.card.title + "\n\n";
    for (const auto& [line, text] : card_lines(method.card)) {
      std::string lines = wrap(line + ": " + text, kPageWidth - 2);
      lines.pop_back();  // the last line's end
      page += "- " + join(split(lines, '\n'), "\n  ") + "\n";
    }
    page += "\n```\n" + method.card.formula + "\n```\n";
    if (!method.params().empty()) {
      page += "\n" + parameter_table(method, "default").markdown();
    }
  }
  return page;
}

std::string mergekit_page() {
  std::string page =
      "# From mergekit\n\nGenerated by `fusegrid docs docs` from `src/fusion/compat/porting.cpp`; do not "
      "edit.\n\n"
      "Every method of mergekit 0.1.5 and every parameter of it, with its default there and here.\n"
      "The call is the method with mergekit's defaults; what mergekit wants to be given is left at ours.\n"
      "Its configuration files, with values that differ by layer and by tensor, are read as they are: "
      "[mergekit_files.md](mergekit_files.md).\n"
      "[merge.md](merge.md#as-mergekit-does) says whose bytes are equal.\n";
  for (const PortedMethod& ported : ported_methods()) {
    const auto [name, parameters] = parse_call(ported.call);
    const Method& method = method_registry().at(name);
    page += "\n## " + ported.name + "\n\n`" + ported.call + "`\n";
    TextTable table({"mergekit", "default", "here", "default", "note"});
    for (const PortedParameter& parameter : ported.parameters) {
      std::string ours;
      for (const ParamInfo& info : method.params()) {
        if (info.name == parameter.here) {
          ours = info.value.empty() ? "(empty)" : info.value;
        }
      }
      table.add({"`" + parameter.name + "`", parameter.default_value.empty() ? "-" : parameter.default_value,
                 parameter.here.empty() ? "-" : "[`" + parameter.here + "`](methods.md#" + name + ")",
                 ours.empty() ? "-" : ours, parameter.note});
    }
    page += ported.parameters.empty() ? "\nIt has no parameters.\n" : "\n" + table.markdown();
  }
  return page;
}

std::string tasks_page() {
  std::string page =
      "# Tasks and shifts\n\nGenerated by `fusegrid docs docs` from the suites' own declarations; do not "
      "edit.\n";
  for (const auto& name : suite_registry().names()) {
    const Suite& suite = suite_registry().at(name);
    page += "\n## " + name + "\n\nTask pack `" + suite.pack + "`. " + suite.source + "\n\n";
    TextTable table({"task", "title", "modality", "classes", "content", "split"});
    for (const auto& task : suite.tasks) {
      table.add(
          {"`" + task.name + "`", task.title, task.modality, classes_text(task), task.content, task.split});
    }
    page += table.markdown();
  }
  page +=
      "\n## Tasks of your own\n\nA task whose score a command says is a section `[task:NAME]` of a job "
      "([jobs.md](jobs.md#tasks-of-your-own)).\n"
      "Your own data become a task of a zoo by a pack ([your_models.md](your_models.md)).\n";
  page +=
      "\n## Shifts\n\nWritten `NAME-SEVERITY` with a severity of 1 to 5; `clean` leaves the inputs "
      "alone.\n\n";
  TextTable shifts({"shift", "of", "what it does", "paper"});
  for (const auto& name : shift_registry().names()) {
    const Shift& shift = shift_registry().at(name);
    shifts.add({"`" + name + "`", shift.of_words != nullptr ? "texts" : "images", shift.doc, shift.paper});
  }
  return page + shifts.markdown();
}

}  // namespace fusegrid
