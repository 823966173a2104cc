// The cross-lingual grid: experts are cells, a task in a language, and merged models also answer cells that no expert
// was made for (docs/design/text_zoo.md).
//
// Base:    those of the recipe text.
// Heads:   one for each task, frozen: a probe of the base's features, fitted on the training examples of the task's
//          seen cells together. All cells of the task are answered under it.
// Experts: the matrices of the affine layers, trained on one seen cell; the multi-task model on all seen cells.
// Source:  Tam et al., "Realistic Evaluation of Model Merging for Compositional Generalization", arXiv:2409.18314 (the
//          setting).

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/text.h"
#include "tasks/kind.h"
#include "zoo/fine_tuning.h"
#include "zoo/recipe.h"

namespace fusegrid::recipes::text_grid {
namespace {

constexpr Pooling kPooling = Pooling::kMean;

struct Options : Tuning {
  int64_t seen = 6;
  bool oracle = false;

  static Options of_scale(const std::string&) {
    Options options;
    options.expert_steps = 300;
    options.multitask_steps = 750;
    return options;
  }

  template <typename Visitor>
  void describe_base(Visitor&) {}
  template <typename Visitor>
  void describe_models(Visitor& v) {
    v.param("seen", seen, Range{1, 1000},
            "cells that there are experts of and heads are fitted on: the first of the suite");
    v.param(
        "oracle", oracle,
        "experts of the other cells too, behind those and under the same heads: what may be reached there");
    Tuning::describe_models(v);
  }
};

TrainedTasks trained(const Options& options, const std::vector<std::string>& cells) {
  const std::vector<std::string> seen = first_tasks(cells, options.seen);
  return {options.oracle ? cells : seen, seen};
}

// The task whose cell it is. A pack has one list of classes for all cells of a task.
std::string task_of(const TaskPack& pack, const std::string& cell) {
  return pack.task(cell).attributes.at("task").get<std::string>();
}

std::vector<std::string> cells_of(const TaskPack& pack, const std::string& task,
                                  const std::vector<std::string>& cells) {
  std::vector<std::string> chosen;
  std::copy_if(cells.begin(), cells.end(), std::back_inserter(chosen),
               [&](const std::string& cell) { return task_of(pack, cell) == task; });
  return chosen;
}

void check_cell(const TaskPack& pack, const std::string& cell) {
  const TaskInfo& info = pack.task(cell);
  const std::string what = "task '" + cell + "' of '" + pack.path().string() + "'";
  if (!task_kind(info.kind).has_classes()) {
    throw ConfigError("heads of the recipe text_grid are fitted on classes, but " + what +
                      " is of the kind " + info.kind + "; choose another pack or another recipe");
  }
  if (!info.attributes.contains("task") || !info.attributes.at("task").is_string()) {
    throw ConfigError(
        "the recipe text_grid makes one head for the cells of a task, but " + what +
        " has no attribute 'task' that says whose cell it is; choose another pack or another recipe");
  }
}

void check_seen(const Options& options, const TaskPack& pack, const std::vector<std::string>& cells) {
  if (static_cast<size_t>(options.seen) > cells.size()) {
    throw ConfigError("seen must be at most the number of cells, " + std::to_string(cells.size()) +
                      ", but it is " + std::to_string(options.seen));
  }
  std::set<std::string> tasks;
  size_t enough = 0;  // first cells, with one of each task
  for (size_t i = 0; i < cells.size(); ++i) {
    enough = tasks.insert(task_of(pack, cells[i])).second ? i + 1 : enough;
  }
  const std::vector<std::string> seen = first_tasks(cells, options.seen);
  for (const std::string& task : tasks) {
    if (cells_of(pack, task, seen).empty()) {
      throw ConfigError("the head of a task is fitted on its seen cells, but '" + task + "' has none among " +
                        join(seen, ", ") + "; set seen=" + std::to_string(enough) + " or more");
    }
  }
}

void check_pack(const Options& options, const TaskPack& pack, const std::vector<std::string>& cells) {
  check_fine_tuning("text_grid", {}, pack, cells);
  for (const std::string& cell : cells) {
    check_cell(pack, cell);
  }
  check_seen(options, pack, cells);
}

MadeModel make_model(const Options& options, const ModelInput& in) {
  const std::vector<std::string> seen = first_tasks(in.all_tasks, options.seen);
  std::set<std::string> tasks;
  for (const std::string& cell : in.tasks) {
    tasks.insert(task_of(in.pack, cell));
  }
  std::map<std::string, AffineHead> heads;
  for (const std::string& task : tasks) {
    const AffineHead head = fit_probe(cells_of(in.pack, task, seen), kPooling, in);
    for (const std::string& cell : cells_of(in.pack, task, in.all_tasks)) {
      heads.emplace(cell, head);
    }
  }
  return fine_tune(options, kPooling, heads, in);
}

double seconds(const Options& options, ZooItem::Kind kind, int64_t tasks) {
  constexpr double kRowsASecond = 950;  // measured at the small scale
  return static_cast<double>(rows_seen(options, kind, tasks)) / kRowsASecond;
}

const RegisterRecipe<Options> registered{
    {.name = "text_grid",
     .doc =
         "encoders of the layout of BERT on a grid of tasks and languages, some of whose cells have experts",
     .scales = {{"small", "128 wide, 4 blocks: minutes on a CPU", "text_grid"}},
     .pooling = kPooling,
     .heads = Heads::kOfExperts,
     .bases = "text"},
    {nullptr, check_pack, nullptr, nullptr, make_model, seconds, trained}};

}  // namespace
}  // namespace fusegrid::recipes::text_grid
