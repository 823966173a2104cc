// Merges of pipelines of diffusers: a merge of each component that is merged (merge/merge.h), the rest of a pipeline
// beside them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/collectives.h"
#include "merge/merge.h"
#include "merge/spec.h"

namespace fusegrid {

constexpr auto kPipelineFile = "fusegrid_pipeline.json";

// The merge of a pipeline, checked as far as that is possible without reading a weight. While it is made,
// <out>.partial/components/<component> is the result of that component's merge, and <out>.partial/result what becomes
// <out>.
struct PipelinePlan {
  struct Part {
    std::string component;
    MergePlan plan;
    bool is_made = false;  // by an earlier run that was interrupted
  };
  MergeSpec spec;
  std::vector<Part> merged;
  std::map<std::string, std::string> kept;  // networks that are not merged: whose folder each is from
  std::map<std::string, std::filesystem::path>
      copied;                               // name in the result, "vae/config.json", and where it is
  std::map<std::string, std::string> made;  // name and content, in place of a file
  std::vector<std::string> notes;
};

// Whether the reference of the merge (the base or, without one, the first expert) is a pipeline.
bool merges_pipeline(const MergeSpec& spec);

// Experts may be pipelines or, with a base, files of LoRA factors (checkpoint/lora_file_expert.h). Throws as
// plan_merge(), and ConfigError where a component that is merged is missing in a pipeline or has another class there,
// where spec.components or spec.keep name what is not there, or a LoRA file changes nothing that is merged.
PipelinePlan plan_pipeline(const MergeSpec& spec);

// Makes the pipelines and publishes them. As run_merge().
MergeReport run_pipeline(const PipelinePlan& plan, Collectives& group, const nlohmann::json& provenance,
                         const std::function<void(double share)>& progress);

}  // namespace fusegrid
