// What a results folder says, as the journal and results.h5 both hold it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/result.h"

namespace fusegrid {

// What a reader of results must know about a method, so that no reader needs the program that ran it.
struct MethodRecord {
  std::string
      name;  // "ties", or with the parameters of the calls that see other data: "wemoe{inputs=validation}"
  std::string title;
  std::string paper;
  std::string family;  // "task vector", ...; "reference" for rows that take no part in a ranking
  std::string data;    // what the fusion sees besides the models: "train inputs, gradients"; "" for nothing
  std::string yields;  // "one model", ...
  bool told_task = false;  // whether the model is told the task of an input
  auto operator<=>(const MethodRecord&) const = default;
};

// The kind of a task that a command of the user's answered. Its metric, where the program does not know it, is the mean
// of a number of each example.
inline constexpr const char* kExternalKind = "external";

// What an answer to a task is, and how it is scored.
struct TaskRecord {
  std::string zoo;
  std::string task;
  std::string kind;    // "classify", ...
  std::string metric;  // the primary one
  std::string better;  // "higher" or "lower"
  std::string unit;    // "fraction", ...
  std::string title;
  auto operator<=>(const TaskRecord&) const = default;
};

// Labels and groups of an evaluated split, in the order of the task pack. Examples of one group share a source, so that
// they are no independent draws.
struct ExamplesRecord {
  std::string zoo;
  std::string task;
  std::string split;
  std::vector<int32_t> labels;  // all -1 where the task has no classes
  std::vector<uint32_t> groups;
  auto key() const { return std::tuple(zoo, task, split); }
};

// One launch of the program on a results folder.
struct RunInfo {
  std::string kind;         // what the items are: "grid" (cells) or "zoo" (experts)
  std::string plan_sha256;  // digest of the sorted item names
  // argv, git revision, hosts, devices, library versions, threads, the job's text, ... An object; "argv", "git" and
  // "started" become columns of /runs; the store adds "started" (UTC) where it is missing.
  nlohmann::json provenance;
  // What decides the numbers and is not in the name of a cell: input -> digest ("embedded-small/0/expert/mnist").
  std::map<std::string, std::string> bindings;
  std::vector<MethodRecord> methods;
  std::vector<TaskRecord> tasks;
};

// The value of a binding, and the launch that recorded it first.
struct Binding {
  std::string value;
  size_t run = 0;
};

// Everything recorded in one folder.
struct Records {
  std::map<std::string, Result> results;  // the newest of every item
  std::vector<RunInfo> runs;              // every launch, oldest first
  std::map<std::string, Binding> bindings;
  std::map<std::string, MethodRecord> methods;                      // as the newest launch describes them
  std::map<std::pair<std::string, std::string>, TaskRecord> tasks;  // by zoo and task, likewise
  std::map<std::tuple<std::string, std::string, std::string>, ExamplesRecord>
      examples;  // by zoo, task and split
  std::map<std::string, std::vector<std::string>>
      plans;  // job file -> its items, sorted, as of its newest launch

  // Of the runs; "" before the first one.
  std::string kind() const { return runs.empty() ? std::string() : runs.back().kind; }
  // The items of all plans.
  std::set<std::string> planned() const;
  // Those that have no result.
  std::vector<std::string> missing() const;
};

// The binding that says which of the merged experts owns a task: its name, those of all that were made for it, joined
// by '+', or kNoOwner. experts: as a cell names them.
std::string owner_binding(const std::string& zoo, const std::string& experts, const std::string& task);
inline constexpr const char* kNoOwner = "-";  // no name

// ConfigError naming each binding of `run` whose recorded value is another one, both values and the launch that
// recorded it. Bindings that are not recorded yet are no conflict.
void check_bindings(const Records& records, const RunInfo& run);

}  // namespace fusegrid
