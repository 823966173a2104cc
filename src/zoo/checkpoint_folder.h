// Model folders as zoos read them. Links are followed where they stay inside: a hub cache is made of them.
#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/hf_folder.h"
#include "checkpoint/model_source.h"

namespace fusegrid {

// Throws as HfFolder.
HfFolder open_checkpoint(const std::filesystem::path& path);

// Whether a model's folder holds an adapter.
bool is_adapter(const std::filesystem::path& path);

// A model of a replicate: a checkpoint, or a PEFT adapter on the replicate's base (checkpoint/lora_expert.h).
class ModelFolder {
 public:
  // Throws as HfFolder and LoraExpert.
  ModelFolder(const std::filesystem::path& base, const std::filesystem::path& path);
  const ModelSource& model() const { return *model_; }

 private:
  std::unique_ptr<const HfFolder> base_;  // null of a checkpoint
  std::unique_ptr<const ModelSource> model_;
};

}  // namespace fusegrid
