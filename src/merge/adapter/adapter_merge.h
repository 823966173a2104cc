// `fusegrid adapter merge`: adapters of one base into one, or one for each.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "merge/adapter/adapter_inputs.h"
#include "merge/adapter/extraction.h"
#include "merge/adapter/update_merge.h"
#include "merge/spec.h"

namespace fusegrid::adapters {

struct AdapterMergeSpec {
  std::vector<MergeExpert> adapters;
  MergeMethod method;  // of the registry, or one of peft_methods()
  std::filesystem::path out;
  RankRule rule;                         // neither: rank = the largest of the adapters
  std::optional<double> alpha;           // none: the largest rank of the result
  std::optional<std::string> base_name;  // base_model_name_or_path; none: the first adapter's
  AdapterReading reading;
  UpdateMergeOptions options;
};

// One adapter that was written.
struct MergedAdapter {
  std::filesystem::path folder;
  std::vector<ExtractedModule> modules;  // LoRA: how each was cut; the norms are of the merged update
  size_t vectors = 0;                    // (IA)^3
  double relative_error() const;         // of all modules together
};

struct AdapterMergeReport {
  std::vector<std::string> notes;
  std::vector<MergedAdapter> adapters;
};

// A merge that was found to fit.
struct AdapterMergePlan {
  AdapterMergeSpec spec;
  AdapterInputs inputs;
};
// Opens and checks everything: folders, method and parameters, rank, the output folder. Throws as open_adapters(),
// check_method(), check_merges_updates(), check_rule(), check_new_folder().
AdapterMergePlan plan_adapter_merge(const AdapterMergeSpec& spec);

// Merges and writes PEFT folders, all of them or none, each with fusegrid_adapter.json: the method, its parameters,
// the adapters and how each module was cut. The same plan, the same bytes. record: is added to that.
AdapterMergeReport merge_adapters(const AdapterMergePlan& plan, const nlohmann::json& record);

inline constexpr const char* kAdapterRecord = "fusegrid_adapter.json";
// The modules of an adapter for such a record.
nlohmann::json record_of(const std::vector<ExtractedModule>& modules);

}  // namespace fusegrid::adapters
