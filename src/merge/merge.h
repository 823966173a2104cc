#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/collectives.h"
#include "merge/inputs.h"
#include "merge/layout.h"
#include "merge/small_files.h"
#include "merge/spec.h"

namespace fusegrid {

// One model that a merge makes.
struct MergeOutput {
  size_t method = 0;   // in MergeSpec::methods
  std::string task;    // of methods that yield a model per task
  std::string folder;  // below MergeSpec::out; "" is out itself
};

// A merge, checked as far as that is possible without reading a weight.
struct MergePlan {
  MergeSpec spec;
  MergeInputs inputs;
  StreamModels models;
  MergeLayout layout;
  std::vector<MergeOutput> outputs;
  SmallFiles small;                // what goes with each of them
  std::vector<std::string> notes;  // what a user should hear though the merge goes on
  int64_t passes = 0;              // over all models, together
  int64_t read_bytes = 0;          // of one pass
  int64_t write_bytes = 0;         // of all outputs
  int64_t memory_bytes = 0;        // of a rank's buffers on the host
  std::string identity;  // of what is made from what: an unfinished merge of the same identity is continued
  std::optional<size_t> unfinished;  // there is one, with so many finished weight files
};

// Opens the inputs and checks everything: methods and their parameters, names, shapes, dtypes, the output folder,
// memory, disk space. Throws ConfigError, DataError, IoError.
// local: of a spec with inputs_are_local; must outlive the plan.
MergePlan plan_merge(const MergeSpec& spec, const LocalInputs* local = nullptr);

struct MergeReport {
  int64_t passes = 0;
  int64_t bytes_read = 0;     // over all ranks
  int64_t bytes_written = 0;  // over all ranks
  int64_t buffer_bytes = 0;   // the largest of all ranks
  double seconds = 0;
  size_t continued_files = 0;  // that an earlier, interrupted run had finished
  // Rank 0: sentences on what the user must know of the result: tensors that are not finite.
  std::vector<std::string> notes{};
};

// Makes the models and publishes them. Every rank of the group calls it with a plan of the same spec. provenance:
// command line and versions, for the manifest. progress: share of the current pass that is done. Throws AgreedError on
// all ranks where any of them fails.
MergeReport run_merge(const MergePlan& plan, Collectives& group, const nlohmann::json& provenance,
                      const std::function<void(double share)>& progress);

// ConfigError where `call` is no method of weights alone, its parameters or the number of experts do not fit, or it
// needs a base and the spec has none.
void check_method(const MergeSpec& spec, const MergeMethod& call);

// "float64": as --dtype and config.json name it.
std::string dtype_name(at::ScalarType dtype);
// In a config.json that says in which dtype transformers is to load the model.
void set_dtype(nlohmann::json& config, at::ScalarType dtype);

}  // namespace fusegrid
