#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "checkpoint/hf_folder.h"

namespace fusegrid {

// One entry of model_index.json that has a folder.
struct PipelineComponent {
  std::string library, class_name;  // "diffusers", "UNet2DConditionModel"
  bool has_weights = false;         // a network: its folder holds weights, in whatever format
};

// A pipeline in the layout of diffusers: model_index.json, and a folder for each component.
struct PipelineFolder {
  // Throws ConfigError where the folder has no model_index.json, or a component that it names has no folder; DataError
  // where the file is no such index. Weights are not opened.
  PipelineFolder(const std::filesystem::path& path, HfFolderOptions options);

  std::filesystem::path path;
  std::string class_name;                               // "StableDiffusionPipeline"
  std::map<std::string, PipelineComponent> components;  // by name
  std::vector<std::string> names() const;
  std::vector<std::string> networks() const;  // names of those with weights
};

// Whether the folder has a model_index.json.
bool is_pipeline(const std::filesystem::path& path);

}  // namespace fusegrid
