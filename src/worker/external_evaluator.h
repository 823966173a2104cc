#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/cell.h"
#include "tasks/external_task.h"
#include "worker/command_run.h"
#include "worker/merge_maker.h"
#include "worker/zoo_cache.h"

namespace fusegrid {

struct EvaluatorSettings {
  std::map<std::string, ExternalTask> tasks = {};
  std::filesystem::path folder = {};  // where models and answers are written; made when it is first needed
  std::vector<std::string> splits{"val", "test"};
  int64_t validation = -1;  // examples of "val" at most; -1: all
};

// Asks commands of the user's about merges, whose models are written as HuggingFace folders for them. docs/jobs.md says
// what a command is told, and what it must answer.
class ExternalEvaluator {
 public:
  struct Evaluation {
    std::map<std::string, Answers> answers;  // by split
    // The command, and digests of the files that it names, of the model that it read and of what it answered.
    std::map<std::string, std::string> facts;
  };

  ExternalEvaluator(EvaluatorSettings settings, at::Device device)
      : settings_(std::move(settings)), device_(device) {}

  bool answers(const std::string& task) const { return settings_.tasks.contains(task); }
  // merge: the cell's, whose task answers(). Throws InputError where a file that the command names has changed since
  // the run began, DataError where the command fails, takes too long, or answers something else than a score of the
  // task. tick: called all the while that the command runs.
  Evaluation evaluate(const Cell& cell, const Merge& merge, OpenZoo& zoo, const std::function<void()>& tick);

 private:
  // A model on disk, for all cells that it answers.
  struct WrittenMerge {
    std::string name;  // of the merge, and of its expert where it has several models
    std::string sha256;
    std::unique_ptr<ScratchFolder> scratch;
  };
  const WrittenMerge& written(const Cell& cell, const Merge& merge, OpenZoo& zoo);

  EvaluatorSettings settings_;
  at::Device device_;
  WrittenMerge written_;
};

}  // namespace fusegrid
